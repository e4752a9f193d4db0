"""Boxes from the file's numbers to the picture as shown, and the conventions they look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR = 10
"""A box that reaches further beyond its image than this many of the image's sides is no box."""

EDGE = 0.1
"""Pixels by which a box may reach beyond its image unnoted; COCO's own do, by rounding."""

_ONE_TOOL = 0.98  # share of a file's boxes that must fit a convention: one tool wrote them
_BEYOND = 0.2  # share that must reach beyond their image: small ones at its top left don't


@dataclass(frozen=True)
class Convention:
    """A way of writing boxes that isn't COCO's, and how many of a file's boxes speak for it."""

    name: str
    reason: str


def corners(xywh: np.ndarray) -> np.ndarray:
    """Returns xyxy (N, 4) of COCO's x, y, width, height (N, 4)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def turned(xyxy: np.ndarray, sizes: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Turns boxes upright as EXIF turns their picture.

    Args:
        xyxy: (N, 4), in pixels of the picture as stored.
        sizes: (N, 2), width and height of the picture as stored.
        orientations: (N,), EXIF's, 1 to 8.

    Returns:
        (N, 4), xyxy in pixels of the picture as shown.
    """
    if (orientations == 1).all():
        return xyxy
    x, y = xyxy[:, [0, 2]], xyxy[:, [1, 3]]
    width, height = sizes[:, :1], sizes[:, 1:]
    # From the right or from the bottom, the lesser edge is the other one.
    with np.errstate(invalid="ignore"):
        left, up = (width - x)[:, ::-1], (height - y)[:, ::-1]
    shown = {
        1: (x, y),
        2: (left, y),
        3: (left, up),
        4: (x, up),
        5: (y, x),
        6: (up, x),
        7: (up, left),
        8: (y, left),
    }
    result = np.array(xyxy)
    for orientation, (across, down) in shown.items():
        own = orientations == orientation
        result[np.ix_(own, [0, 2])], result[np.ix_(own, [1, 3])] = across[own], down[own]
    return result


def clipped(xyxy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns float32 xyxy (N, 4) within images of `sizes` (N, 2)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.clip(xyxy, 0, np.tile(sizes, (1, 2))).astype(np.float32)


def reach(xyxy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns by how many pixels each box reaches beyond its image (N,); none is 0 or less."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate([-xyxy[:, :2], xyxy[:, 2:] - sizes], axis=1).max(axis=1, initial=0)


def far_beyond(xyxy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns which boxes (N,) reach beyond their image by more than FAR of its sides."""
    margin = FAR * sizes
    with np.errstate(over="ignore", invalid="ignore"):
        return ((xyxy[:, :2] < -margin) | (xyxy[:, 2:] > sizes + margin)).any(axis=1)


def convention(xywh: np.ndarray, sizes: np.ndarray) -> Convention | None:
    """Recognises boxes that all look like two corners, or like shares of their image.

    Args:
        xywh: (N, 4), finite, all boxes of a file whose images can be read.
        sizes: (N, 2), width and height of their images in px.
    """
    if not len(xywh):
        return None
    shares = ((xywh >= 0) & (xywh <= 1)).all(axis=1)
    if shares.mean() >= _ONE_TOOL and (xywh != np.round(xywh)).any():
        return Convention(
            "boxes look like shares of their image, from 0 to 1",
            f"{shares.sum()} of {len(xywh)} have no number above 1; write bbox as x, y, width and "
            "height in pixels",
        )
    # Boxes that aren't COCO's fit their image as corners; those that are seldom leave it.
    fits = ((xywh[:, 2:] > xywh[:, :2]) & (xywh[:, 2:] <= sizes + 1)).all(axis=1)
    beyond = (xywh[:, :2] + xywh[:, 2:] > sizes + 1).any(axis=1)
    if fits.mean() >= _ONE_TOOL and beyond.mean() >= _BEYOND:
        return Convention(
            "boxes look like x1, y1, x2, y2",
            f"{fits.sum()} of {len(xywh)} fit their image as corners, and {beyond.sum()} leave it "
            "as x, y, width, height, which they are read as; write bbox so",
        )
    return None
