"""What a probe and its server say to each other: pure, values in and values out.

control     one connection of JSON lines: a handshake that proves the token, then requests and reports
all others  begin with 32 bytes that name the session and the script (`head`), and then do what the script says
"""
