"""What a person reads of a run: the drawing of a genome, leaderboard, curves and page."""
