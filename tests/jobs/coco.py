"""A folder in COCO's own layout, with sparse ids, and parts of COCO's size without its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from nas.data.coco import Category, Image, Split

IDS = (1, 18, 90)
"""Of person, dog and toothbrush: COCO's 80 classes have ids from 1 to 90."""


def write_coco(root: Path, images: int = 20) -> Path:
    """Writes annotations/instances_{train,val}2017.json with pictures in train2017/, val2017/."""
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": key, "name": f"class {key}"} for key in IDS]
    for part, count, first in (("train2017", images, 9), ("val2017", 4, 400_000)):
        rows, boxes = [], []
        for k in range(count):
            key = first + 37 * k
            rows.append({"id": key, "file_name": f"{key:012}.jpg", "width": 64, "height": 48})
            boxes.append(
                {
                    "id": 7 * k + 1,
                    "image_id": key,
                    "category_id": IDS[k % 3],
                    "bbox": [8, 6, 24, 20],
                    "area": 480,
                    "iscrowd": 0,
                }
            )
            path = root / part / f"{key:012}.jpg"
            path.parent.mkdir(exist_ok=True)
            noise = np.random.default_rng(k).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Pillow.fromarray(noise).save(path)
        document = {"images": rows, "annotations": boxes, "categories": categories}
        (root / f"annotations/instances_{part}.json").write_text(json.dumps(document))
    return root


def part_of_size(count: int, empty: int = 0) -> Split:
    """A part of `count` images of which none is there; `empty` of them have no box.

    It has 90 classes, one for each id up to COCO's largest, as the published models have.
    """
    full, bare = (
        Image(
            id=number,
            path=Path("none.jpg"),
            width=640,
            height=480,
            boxes=np.zeros((boxes, 4), dtype=np.float32),
            labels=np.ones(boxes, dtype=np.int64),
            crowd=np.zeros(boxes, dtype=bool),
            areas=np.ones(boxes, dtype=np.float32),
            annotation_ids=np.arange(boxes),
        )
        for number, boxes in ((1, 1), (2, 0))
    )
    images = (full,) * (count - empty) + (bare,) * empty
    categories = tuple(Category(key, str(key)) for key in range(1, 91))
    return Split("train", Path("coco"), images, categories, "0" * 32, Path("coco/train.json"))
