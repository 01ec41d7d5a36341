"""Measures the relay beside a direct connection; see README.md."""
