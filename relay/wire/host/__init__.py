"""The host's own sockets and files, as the NAT uses them toward the servers; all else in wire mode is packets."""
