"""The kernel's interfaces that providers are made of: filters, counters, netlink, packets."""
