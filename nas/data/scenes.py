"""Built-in scenes: textured shapes on textured grounds, written as an ordinary COCO folder.

They let everything run without data. `easy` is learnt by a tiny detector within a minute or two;
`hard` has ten classes that only the shape tells apart, small objects and much occlusion.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image as Pillow

from nas.data.cache import Progress
from nas.data.scene_shapes import SHAPES, fill, ground, mask_of
from nas.data.settings import DataSettings, cache_directory
from nas.errors import DataError

_FORMAT = 1  # raise it when the same settings would give other scenes
_CATEGORY_STEP = 3  # category ids have gaps, as COCO's own do
_VAL_SHARE = 0.2


@dataclass(frozen=True)
class Difficulty:
    """What makes scenes easy or hard.

    Attributes:
        side: Width and height of the pictures in pixels.
        classes: Number of shapes, the first of `SHAPES`.
        objects: Smallest and largest number of objects tried for a picture.
        sides: Smallest and largest side of an object in pixels.
        skew: Sides are `largest * (smallest / largest) ** (u ** skew)` with u uniform; above 1
            favours large objects.
        visible: Least share of each object that stays in sight.
        own_hue: Whether each class has its own range of colours.
    """

    side: int
    classes: int
    objects: tuple[int, int]
    sides: tuple[float, float]
    skew: float
    visible: float
    own_hue: bool


DIFFICULTIES = {
    "easy": Difficulty(192, 3, (1, 3), (8.0, 176.0), 2.5, 0.85, True),
    "hard": Difficulty(320, 10, (4, 16), (10.0, 260.0), 0.8, 0.35, False),
}


def write_scenes(
    root: Path | str,
    *,
    seed: int = 0,
    images: int = 600,
    difficulty: Literal["easy", "hard"] = "easy",
    progress: Progress | None = None,
) -> Path:
    """Writes scenes with `train.json`, `val.json` and JPEG files in `train/` and `val/`.

    Args:
        root: The folder to make; it must not have these files yet.
        seed: Equal seeds give equal annotations on every machine.
        images: Number of scenes; a fifth of them goes to `val`.
        difficulty: `easy` or `hard`.
        progress: Told about the scenes done.

    Returns:
        The folder.
    """
    if difficulty not in DIFFICULTIES:
        raise DataError(f"scenes {difficulty!r} are unknown; use 'easy' or 'hard'")
    root = Path(root)
    if (root / "train.json").exists() or (root / "val.json").exists():
        raise DataError(f"{root}: already holds annotations; choose an empty folder")
    rules = DIFFICULTIES[difficulty]
    val = max(1, round(images * _VAL_SHARE))
    done = 0
    for split, (name, number) in enumerate((("train", images - val), ("val", val))):
        before = done
        advance = (lambda n, b=before: progress(b + n, images)) if progress else None
        _write_split(root, name, number, (abs(seed), split), rules, advance)
        done += number
    return root


def scenes_folder(settings: DataSettings, seed: int = 0, progress: Progress | None = None) -> Path:
    """Returns the folder of the built-in scenes of these settings, written on first use."""
    folder = cache_directory(settings.cache_dir) / "scenes"
    name = f"{settings.scenes}-{settings.scene_images}-{abs(seed)}-v{_FORMAT}"
    if (folder / name).is_dir():
        return folder / name
    unfinished = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        write_scenes(
            unfinished,
            seed=seed,
            images=settings.scene_images,
            difficulty=settings.scenes,
            progress=progress,
        )
        os.rename(unfinished, folder / name)
    except OSError as error:
        if not (folder / name).is_dir():  # else another process was first, with the same scenes
            raise DataError(
                f"{folder}: the built-in scenes cannot be written ({error.strerror}); free some "
                "space or set data.cache_dir or SPINENAS_CACHE"
            ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder / name


def _write_split(
    root: Path,
    name: str,
    number: int,
    seed: tuple[int, int],
    rules: Difficulty,
    progress: Callable[[int], None] | None,
) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": 1 + _CATEGORY_STEP * k, "name": shape}
            for k, shape in enumerate(list(SHAPES)[: rules.classes])
        ],
    }

    def one(index: int) -> list[tuple[int, list[int], int]]:
        pixels, objects = scene(np.random.default_rng((*seed, index)), rules)
        Pillow.fromarray(pixels).save(root / name / f"{index:06d}.jpg", quality=90)
        return objects

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for index, objects in enumerate(pool.map(one, range(number))):
            document["images"].append(
                {
                    "id": index + 1,
                    "file_name": f"{index:06d}.jpg",
                    "width": rules.side,
                    "height": rules.side,
                }
            )
            for kind, box, area in objects:
                document["annotations"].append(
                    {
                        "id": len(document["annotations"]) + 1,
                        "image_id": index + 1,
                        "category_id": 1 + _CATEGORY_STEP * kind,
                        "bbox": box,
                        "area": area,
                        "iscrowd": 0,
                    }
                )
            if progress:
                progress(index + 1)
    (root / f"{name}.json").write_text(json.dumps(document))


def scene(
    rng: np.random.Generator, rules: Difficulty
) -> tuple[np.ndarray, list[tuple[int, list[int], int]]]:
    """Draws one scene.

    Returns:
        uint8 (side, side, 3), and of each object its kind, the box of what is in sight as x, y,
        width and height in px, and the number of pixels in sight.
    """
    pixels = ground(rng, rules.side)
    owner = np.zeros((rules.side, rules.side), dtype=np.uint8)  # 0 ground, else object number
    kinds: list[int] = []
    whole = np.zeros(1, dtype=np.int64)  # pixels of each object before anything hid it
    sight = whole.copy()  # and those still in sight
    for _ in range(int(rng.integers(rules.objects[0], rules.objects[1] + 1))):
        kind = int(rng.integers(rules.classes))
        largest, smallest = rules.sides[1], rules.sides[0]
        side = largest * math.exp(math.log(smallest / largest) * float(rng.random()) ** rules.skew)
        mask = mask_of(list(SHAPES)[kind], rng, side)
        hue = (kind + 0.3 * float(rng.random())) / rules.classes if rules.own_hue else None
        colours = fill(rng, len(mask), hue)
        place = _place(rng, mask, owner, sight - rules.visible * whole)
        if place is None:
            continue
        window, hidden = place
        kinds.append(kind)
        whole = np.append(whole, mask.sum())
        sight = np.append(sight - hidden, mask.sum())
        np.copyto(owner[window], len(kinds), where=mask)
        np.copyto(pixels[window], colours, where=mask[..., None])
    pixels += rng.integers(-6, 7, pixels.shape, dtype=np.int8)
    return np.clip(pixels, 0, 255, out=pixels).astype(np.uint8), _objects(owner, kinds)


def _place(
    rng: np.random.Generator, mask: np.ndarray, owner: np.ndarray, spare: np.ndarray
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Returns a window where `mask` hides at most `spare` pixels of each object, and what it hides.

    None if eight tries find none.
    """
    n = len(mask)
    for _ in range(8):
        top, left = (int(v) for v in rng.integers(0, len(owner) - n + 1, 2))
        window = slice(top, top + n), slice(left, left + n)
        hidden = np.bincount(owner[window][mask], minlength=len(spare))
        if (hidden[1:] <= spare[1:]).all():
            return window, hidden
    return None


def _objects(owner: np.ndarray, kinds: list[int]) -> list[tuple[int, list[int], int]]:
    objects = []
    for number, kind in enumerate(kinds, start=1):
        mine = owner == number
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
        objects.append((kind, box, int(mine.sum())))
    return objects
