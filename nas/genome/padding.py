"""The padding of convolutions: symmetric, or as TensorFlow pads."""

from __future__ import annotations

from typing import Literal

PaddingRule = int | Literal["same"] | None
"""Pixels on each side; TensorFlow's SAME; or, by default, `dilation * (kernel - 1) // 2`."""


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Returns the pixels with which a map of side S becomes one of side ceil(S / stride).

    They are before and behind it; where their sum is odd, one more is behind.

    An odd kernel of stride 1, or on a map of odd side, is padded alike on both sides. On an even
    side a 3×3 of stride 2 has no pixel before the map and one behind it, a 5×5 one and two.

    Source: tensorflow/core/framework/common_shape_fns.cc.
    """
    extent = dilation * (kernel - 1) + 1
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def pads(
    rule: PaddingRule, size: int, kernel: int, stride: int = 1, dilation: int = 1
) -> tuple[int, int]:
    """Returns the pixels before and behind a map of this side, by any rule."""
    if rule == "same":
        return same_padding(size, kernel, stride, dilation)
    pixels = dilation * (kernel - 1) // 2 if rule is None else rule
    return pixels, pixels
