"""The predictor: a surrogate of scores and feasibility, and an acquisition over it."""
