"""The NAT's name server: what it answers itself, and what it forwards as it came (RFC 1035). All of it is pure.

message      headers, questions, and answers of our own
local        the names that this host's own settings answer
servers      which name servers are asked
forwarder    the questions that are out, the servers that each was sent to, and what follows without an answer
stream       messages over TCP
"""
