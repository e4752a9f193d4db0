"""Measuring a device: pieces of networks as files, a runner, and a fit to what it has measured."""
