"""Changes of a row of a COCO file, and what each does to the meaning.

*Kept*: boxes and all twelve numbers are those of the clean file. *Noted*: so too, and a note names
the row. *Lost*: the row is counted as left out, and the numbers are those of the clean file
without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Document = dict[str, Any]
Row = tuple[str, int]

GONE = object()  # the key is taken away
WIDTH, HEIGHT = 40, 30
NAN, INF = float("nan"), float("inf")


def clean(first_id: int) -> Document:
    """Three pictures, three classes, eight boxes with their polygons, one of them a crowd."""
    rng = np.random.default_rng(first_id)
    images = [
        {"id": first_id + 7 * k, "file_name": f"{k}.png", "width": WIDTH, "height": HEIGHT}
        for k in range(3)
    ]
    annotations = []
    for k in range(8):
        x, y = (int(v) for v in rng.integers(0, 18, 2))
        w, h = (int(v) for v in rng.integers(5, 12, 2))
        annotations.append(
            {
                "id": 100 + 3 * k,
                "image_id": images[k % 3]["id"],
                "category_id": (2, 7, 9)[k % 3 if k < 5 else (k + 1) % 3],
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": int(k == 6),
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }
        )
    names = {2: "bolt", 7: "nut", 9: "washer"}
    categories = [{"id": key, "name": name} for key, name in names.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


CLEAN = {"train": clean(5), "val": clean(300)}


@dataclass(frozen=True)
class Mutation:
    """A change of one row, and what it does to the meaning: "kept", "noted" or "lost"."""

    table: str
    row: int
    changes: tuple[tuple[str, Any], ...]
    meaning: str

    def apply(self, document: Document) -> None:
        row = document[self.table][self.row]
        for key, value in self.changes:
            if value is GONE:
                row.pop(key, None)
            else:
                row[key] = value


def same_number(value: float) -> list[Any]:
    """Other ways of writing a number, each of which can mean only it."""
    return [float(value), str(value), f" {value} ", f"{value}.0", f"{value}.", f"00{value}"]


NO_NUMBER: list[Any] = [None, NAN, INF, -INF, True, False, "", "x", "nan", "1,5", "0x1f", "٣"]
NO_NUMBER += [[], [1], {}, {"id": 1}, "1 2", "1e999", 10**400, "9" * 400, [[1]], "one"]
NO_WHOLE: list[Any] = [*NO_NUMBER, 0.5, "0.5", 1e300, 2**63, -(2**70), "1e2", GONE]
NO_FLAG: list[Any] = [None, NAN, INF, "", "maybe", "no", 2, -1, 0.5, "2", [], [0], [1], {}, 10**400]
NO_SIDE: list[Any] = [-1, 0, None, NAN, INF, "", "x", [], [40], {}, True, 1.5, 10**400, "-1"]
NO_AREA: list[Any] = [None, NAN, INF, -1, 0, "", "x", "-3", [], [5], {}, True, 1e30, 10**400]
NO_NAME: list[Any] = [None, NAN, "", [], {}, True, " "]
NO_FILE: list[Any] = [
    None,
    3,
    "",
    [],
    {},
    NAN,
    "missing.png",
    "a\n.png",
    "\ud800.png",
    GONE,
]
NO_OUTLINE: list[Any] = [None, [], {}, [[]], [[1, 2]], [[1, 2, 3, 4, 5]], "x", 3, NAN]
NO_OUTLINE += [[[NAN] * 6], ["x"]]
FLAGS = {0: [0.0, False, "0", "false", "False", " 0 ", "0.0", GONE], 1: [1.0, True, "1", "TRUE"]}


def field_mutations(document: Document, name: str) -> Iterator[Mutation]:
    """Every field of every row, with every value: a field's row and value are drawn from these."""

    def one(
        table: str, row: int, field: str, values: list[Any], meaning: str
    ) -> Iterator[Mutation]:
        yield from (Mutation(table, row, ((field, value),), meaning) for value in values)

    for k, image in enumerate(document["images"]):
        yield from one("images", k, "id", same_number(image["id"]), "kept")
        yield from one("images", k, "id", NO_WHOLE, "lost")
        yield from one("images", k, "file_name", NO_FILE, "lost")
        for side, length in (("width", WIDTH), ("height", HEIGHT)):
            yield from one("images", k, side, same_number(length), "kept")
            yield from one("images", k, side, [*NO_SIDE, length + 3], "noted")
        yield Mutation("images", k, (("width", GONE), ("height", GONE)), "kept")
    for k, annotation in enumerate(document["annotations"]):
        yield from annotation_mutations(k, annotation)
    for k, category in enumerate(document["categories"]):
        # Those of val are read by train's names: val's own rows are for comparison alone.
        yield from one("categories", k, "id", same_number(category["id"]), "kept")
        yield from one("categories", k, "id", NO_WHOLE, "lost" if name == "train" else "kept")
        if name == "train":
            yield from one("categories", k, "name", NO_NAME, "noted")
        else:
            other = [category["name"].upper(), f" {category['name']} "]
            yield from one("categories", k, "name", other, "noted")
        yield from one("categories", k, "supercategory", ["x", None, 3, []], "kept")


def annotation_mutations(k: int, row: dict[str, Any]) -> Iterator[Mutation]:
    def one(field: str, values: list[Any], meaning: str) -> Iterator[Mutation]:
        yield from (Mutation("annotations", k, ((field, v),), meaning) for v in values)

    for field in ("image_id", "category_id"):
        yield from one(field, same_number(row[field]), "kept")
        yield from one(field, [*NO_WHOLE, -1, 10**6], "lost")
    # No box is referred to by its id, so it is kept whatever that is.
    yield from one("id", [*same_number(row["id"]), GONE], "kept")
    yield from one("id", [value for value in NO_WHOLE if value is not GONE], "noted")
    yield from one("iscrowd", FLAGS[row["iscrowd"]], "kept")
    yield from one("iscrowd", NO_FLAG, "lost")
    yield from one("area", [*same_number(row["area"]), GONE], "kept")
    yield from one("area", NO_AREA, "noted")
    yield from one("bbox", [GONE, None, []], "kept")  # the polygon has the same box
    for place in range(4):
        box = row["bbox"]
        for value in same_number(box[place]):
            yield from one("bbox", [[*box[:place], value, *box[place + 1 :]]], "kept")
        for value in [*NO_NUMBER, 1e30, -1e9, *((0, -3, "-3", -0.0) if place > 1 else ())]:
            yield from one("bbox", [[*box[:place], value, *box[place + 1 :]]], "lost")
    odd = [row["bbox"][:3], [*row["bbox"], 1], "x", 3, {}, {"x": 1}, [row["bbox"]], "1,2,3,4", NAN]
    yield from one("bbox", odd, "lost")
    for bad in NO_OUTLINE:
        yield Mutation("annotations", k, (("bbox", GONE), ("segmentation", bad)), "lost")
        yield Mutation("annotations", k, (("segmentation", bad),), "kept")
    for extra in ("attributes", "ignore_me", "score", "keypoints", ""):
        yield from one(extra, [None, NAN, {"occluded": True}, [1]], "kept")


MUTATIONS = {name: list(field_mutations(document, name)) for name, document in CLEAN.items()}
# Fields are drawn first, so that those with few values come as often as those with many.
GROUPS = {
    name: sorted({(m.table, m.changes[0][0], m.meaning) for m in every})
    for name, every in MUTATIONS.items()
}
