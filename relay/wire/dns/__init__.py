"""The NAT's name server: what it answers itself, and what it forwards as it came (RFC 1035). All of it is pure.

message      headers, questions, and answers of our own
local        the names that this host's own settings answer
servers      which name servers are asked
forwarder    the questions that are out, whom each was put to, and what follows when nobody answers
stream       messages over TCP
"""
