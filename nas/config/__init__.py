"""Configs: what may stand in an experiment's YAML, how it is read, and how it is refused."""
