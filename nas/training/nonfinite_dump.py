"""What led to a loss that isn't finite, kept for whoever asks why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import RunError
from nas.models.tensor_file import write_tensors
from nas.training.global_batch import BatchShare


def keep_incident(
    folder: Path,
    name: str,
    share: BatchShare,
    terms: Mapping[str, Tensor],
    parts: Sequence[tuple[slice, Tensor]],
    facts: Mapping[str, Any],
) -> bool:
    """Writes the part of a batch whose loss isn't finite, and the facts of its step.

    Args:
        folder: made if it isn't there; gets `name.safetensors` with images, boxes and labels as
            the model saw them, and `name.json`.
        name: of both files.
        share: of this worker.
        terms: loss terms of the whole batch.
        parts: this worker's parts, as slices of its share, with the loss of each.
        facts: JSON values, such as step and learning rate.

    Returns:
        Whether it did; not where this worker's parts are all finite or the disk takes nothing.
    """
    rows = next((rows for rows, loss in parts if not math.isfinite(loss.item())), None)
    if rows is None:
        return False
    tensors = {n: getattr(share, n)[rows].cpu() for n in ("images", "boxes", "labels")}
    ids = getattr(share, "image_ids", None)
    losses = {name: _json(term) for name, term in terms.items()}
    record = {**facts, "losses": losses, "image_ids": ids and ids[rows]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / f"{name}.safetensors", tensors, record)
        text = json.dumps(record, indent=1, allow_nan=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    except (OSError, RunError):
        return False
    return True


def _json(value: Tensor) -> float | str:
    """Writes infinities and nan as text, which JSON has no numbers for."""
    number = float(value.to(torch.float64))
    return number if math.isfinite(number) else str(number)
