"""Data folders made on the fly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

CATEGORIES = [{"id": 2, "name": "bolt"}, {"id": 7, "name": "nut"}]

FolderMaker = Callable[..., Path]


def write_image(path: Path, size: tuple[int, int], seed: int = 0, **options: Any) -> None:
    """Smooth noise, so that JPEG changes little of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    Pillow.fromarray(coarse).resize(size, Pillow.Resampling.BICUBIC).save(path, **options)


@pytest.fixture
def write_picture() -> Callable[..., None]:
    return write_image


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """Makes a folder of `number` pictures of 64x48 px with one box each.

    Names in `rows` ("images", "annotations", "categories") replace those tables.
    """

    def make(
        number: int = 4,
        *,
        json_path: str = "train.json",
        folder: str = "train",
        root: Path | None = None,
        **rows: Any,
    ) -> Path:
        root = root or tmp_path / "data"
        document = {
            "images": [
                {"id": 10 * k + 5, "file_name": f"{k}.png", "width": 64, "height": 48}
                for k in range(number)
            ],
            "annotations": [
                {
                    "id": k + 1,
                    "image_id": 10 * k + 5,
                    "category_id": (2, 7)[k % 2],
                    "bbox": [8, 6, 16 + k % 8, 12],
                    "iscrowd": 0,
                }
                for k in range(number)
            ],
            "categories": CATEGORIES,
            **rows,
        }
        for k in range(number):
            write_image(root / folder / f"{k}.png", (64, 48), seed=k)
        path = root / json_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        return root

    return make
