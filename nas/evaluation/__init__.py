"""Evaluation: COCO's numbers by the reference, a quick equal, curves, and intervals."""
