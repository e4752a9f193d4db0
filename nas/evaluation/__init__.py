"""Evaluation: COCO's numbers by the reference, a fast equal for proxies, and intervals."""
