"""Proxies: cheap stand-ins for training a candidate in full."""
