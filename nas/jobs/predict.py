"""`nas predict`: finds objects in pictures, and draws them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from nas.data.draw import draw_boxes
from nas.data.resize import read_rgb, resize
from nas.errors import DataError
from nas.jobs.load import load_trained
from nas.jobs.outputs import check_folder
from nas.jobs.screen import console
from nas.runs import write_text
from nas.training.weights import TrainedModel


def predict(
    ref: str | Path | TrainedModel,
    images: Sequence[Path],
    *,
    out: Path | None = None,
    score: float = 0.3,
) -> list[Path]:
    """Writes each picture with boxes and names, and ``detections.json`` with the numbers.

    Args:
        ref: a run, a checkpoint, or a trained model.
        images: picture files; a folder stands for the pictures in it.
        out: folder for the results; ``predictions`` by default.
        score: boxes below are left out.

    Returns:
        The files written.

    Raises:
        NasError: nothing is trained, or a picture can't be read.
    """
    out = out or Path("predictions")
    check_folder(out, "--out", "detections.json")
    trained = ref if isinstance(ref, TrainedModel) else load_trained(ref, "predict with")
    paths = [path for given in images for path in _pictures(given)]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: can't be written ({error.strerror}); name another --out") from None
    written: list[Path] = []
    table: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        pixels = read_rgb(path)
        found = detections(trained, pixels, score)
        file = _free_name(out, path, [*written, *paths])
        Pillow.fromarray(_drawn(pixels, found)).save(file)
        written.append(file)
        table[str(path)] = found
        shown = ", ".join(f"{d['name']} {d['score']:.2f}" for d in found[:5]) or "nothing found"
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        console.print(f"{path}: {shown}{more}")
    write_text(out / "detections.json", json.dumps(table, indent=1) + "\n")
    return [*written, out / "detections.json"]


def detections(trained: TrainedModel, pixels: Any, score: float) -> list[dict[str, Any]]:
    """Objects in one picture, best first.

    Args:
        trained: the model.
        pixels: uint8 ``(H, W, 3)``.
        score: boxes below are left out.

    Returns:
        For each ``category_id`` (the user's), ``name``, ``score`` and ``bbox`` as COCO has it: x,
        y, width, height in pixels of the picture.
    """
    source = trained.genome.input
    square, place = resize(pixels, source.size, source.resize)
    batch = torch.from_numpy(square).permute(2, 0, 1)[None]
    with torch.inference_mode():
        found = trained.detector.eval().detect(batch)[0]
    height, width = pixels.shape[:2]
    boxes = place.to_image(found["boxes"].double().numpy())
    rows = []
    for box, label, value in zip(
        boxes, found["labels"].tolist(), found["scores"].tolist(), strict=True
    ):
        left, top = max(0.0, float(box[0])), max(0.0, float(box[1]))
        right, bottom = min(float(width), float(box[2])), min(float(height), float(box[3]))
        if value >= score and right > left and bottom > top:
            category = trained.categories[label - 1]
            rows.append(
                {
                    "category_id": category.id,
                    "name": category.name,
                    "score": round(value, 5),
                    "bbox": [round(v, 2) for v in (left, top, right - left, bottom - top)],
                }
            )
    return rows


def _drawn(pixels: Any, found: list[dict[str, Any]]) -> Any:
    boxes = np.array([d["bbox"] for d in found], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    texts = [f"{d['name']} {d['score']:.2f}" for d in found]
    return draw_boxes(pixels, boxes, texts, [d["category_id"] for d in found])


def _pictures(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    endings = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
    found = sorted(path for path in given.iterdir() if path.suffix.lower() in endings)
    if not found:
        raise DataError(f"{given}: holds no pictures; name files, or a folder of them")
    return found


def _free_name(out: Path, path: Path, taken: Sequence[Path]) -> Path:
    """A name for the drawn picture that is neither another's nor one of the user's own."""
    used = {other.resolve() for other in taken}
    file, number = out / f"{path.stem}.png", 2
    while file.resolve() in used:
        file, number = out / f"{path.stem}-{number}.png", number + 1
    return file
