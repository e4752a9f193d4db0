"""The way up of an edge, and its last convolution."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def projected_to(x: Tensor, project: nn.Module, size: int) -> Tensor:
    """Applies a 1×1 convolution with batch norm, and nearest resizing to `size` pixels.

    Where the way up is by a whole number the convolution comes first: repeated pixels change
    neither it nor a batch's mean and variance, and up to 64 times fewer of them are computed.
    (The running variance alone keeps Bessel's factor of the smaller map.)

    Args:
        x: `(N, C, S, S)`.
        project: `(N, C, S, S)` to `(N, C', S, S)`, pixel by pixel.
        size: side of the result, `(N, C', size, size)`.
    """
    if size % x.shape[-1] != 0:
        x = F.interpolate(x, size=(size, size), mode="nearest")
    out: Tensor = project(x)
    if out.shape[-1] != size:
        out = F.interpolate(out, scale_factor=float(size // out.shape[-1]), mode="nearest")
    return out
