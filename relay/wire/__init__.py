"""Wire mode: the NAT itself, packet for packet, with a TCP/IP of its own toward the guest."""
