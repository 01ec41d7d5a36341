"""Sockets: everything that reads, writes, resolves, connects or accepts. No rule about NATs lives here."""
