"""Training: recipes as data, the one loop, and checkpoints that hold no code."""
