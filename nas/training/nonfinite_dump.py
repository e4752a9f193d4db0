"""What led to a loss that isn't finite, kept for who wants to know why."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import RunError
from nas.models.tensor_file import write_tensors
from nas.training.update import Batch, Losses


def keep_incident(folder: Path, name: str, share: Batch, losses: Losses, facts: Any) -> bool:
    """Writes the part of a batch whose loss isn't finite, and the facts of its step.

    Args:
        folder: made if it isn't there; gets `name.safetensors` with images, boxes and labels as
            the model saw them, and `name.json`.
        share: of this worker.
        facts: JSON values, such as step and learning rate.

    Returns:
        Whether it did; not where this worker's parts are all finite or the disk takes nothing.
    """
    rows = next((rows for rows, loss in losses.parts if not math.isfinite(loss.item())), None)
    if rows is None:
        return False
    tensors = {n: getattr(share, n)[rows].cpu() for n in ("images", "boxes", "labels")}
    ids = getattr(share, "image_ids", None)
    terms = {name: _json(term) for name, term in losses.terms.items()}
    told = {**facts, "losses": terms, "image_ids": ids and ids[rows]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / f"{name}.safetensors", tensors, told)
        text = json.dumps(told, indent=1, allow_nan=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    except (OSError, RunError):
        return False
    return True


def _json(value: Tensor) -> float | str:
    """JSON has no nan and no infinity."""
    number = float(value.to(torch.float64))
    return number if math.isfinite(number) else str(number)
