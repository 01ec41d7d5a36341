"""The client of a probe: how it gets to the server, through the NAT or through a proxy that stands for one."""
