"""Measures the relay beside other proxies and a direct connection; see README.md."""
