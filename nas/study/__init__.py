"""The study: what is tried next, what came back, and what a run keeps of both."""
