"""Rules by which a number of channels becomes a whole, or a multiple of something."""

from __future__ import annotations


def divisible(value: float, divisor: int) -> int:
    """Returns the nearest multiple, at least `divisor`, never more than a tenth below `value`."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def expanded(channels: int, expansion: float) -> int:
    """Returns the channels inside an inverted residual: the nearest integer, at least one."""
    return max(1, round(channels * expansion))


def compressed(channels: int, ratio: float) -> int:
    """Returns the channels inside a Tucker block: the nearest multiple of 8, at least 8.

    Source: tensorflow/models, object_detection/models/ssd_mobiledet_feature_extractor.py.
    """
    return max(8, 8 * int(channels * ratio / 8 + 0.5))
