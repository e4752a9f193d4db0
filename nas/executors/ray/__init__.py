"""Trials in Ray's actors: the executor, its actors, and the Ray that they run on."""
