"""Sockets: everything that reads, writes, connects, accepts or waits. No rule about NATs lives here."""
