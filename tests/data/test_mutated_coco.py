"""COCO files mutated at random, against pycocotools on the clean file.

Each mutation says what it does to the meaning. *Kept*: boxes and all twelve numbers are those of
the clean file. *Noted*: so too, and a note names the row. *Lost*: the row is counted as left out,
and the numbers are those of the clean file without it; or the whole file is refused in one line
that names file and row.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nas.data import coco
from nas.data.annotations import AnnotationFile, read_annotations
from nas.data.coco import Category, Split, load_split
from nas.data.problems import Problem
from nas.errors import DataError
from nas.evaluation.coco import evaluate

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


def guesses(document: Document) -> list[dict[str, Any]]:
    """Made-up detections: boxes a little off, some of another class, some of nothing."""
    rng = np.random.default_rng(0)
    made = []
    for row in document["annotations"]:
        for shift in (0.0, 1.5):
            made.append(
                {
                    "image_id": row["image_id"],
                    "category_id": row["category_id"] if rng.random() < 0.8 else 7,
                    "bbox": [v + shift * float(rng.normal()) for v in row["bbox"]],
                    "score": float(rng.random()),
                }
            )
    return made


def without(document: Document, lost: set[Row]) -> Document:
    """The document without some rows, and without what refers to them."""
    kept = {
        table: [row for k, row in enumerate(rows) if (table, k) not in lost]
        for table, rows in document.items()
    }
    for table, key in (("images", "image_id"), ("categories", "category_id")):
        ids = {row["id"] for row in kept[table]}
        kept["annotations"] = [row for row in kept["annotations"] if row[key] in ids]
    return kept


def judged_by_pycocotools(document: Document, found: list[dict[str, Any]]) -> list[float]:
    """COCO's twelve numbers of a clean document, without a line of the code under test."""
    images = {row["id"] for row in document["images"]}
    classes = {row["id"] for row in document["categories"]}
    own = [d for d in found if d["image_id"] in images and d["category_id"] in classes]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(document)
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(own) if own else COCO(), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [math.nan if value == -1 else value for value in judge.stats.tolist()]


JUDGED: dict[str, list[float]] = {}  # many mutations leave the same document


def judged_here(split: Split, found: list[dict[str, Any]]) -> list[float]:
    """The twelve numbers by the code under test."""
    labels = {category.id: k for k, category in enumerate(split.categories, start=1)}
    detections: dict[int, Any] = {}
    for image in split.images:
        own = [d for d in found if d["image_id"] == image.id and d["category_id"] in labels]
        boxes = np.array([d["bbox"] for d in own], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        detections[image.id] = {
            "boxes": boxes,
            "labels": np.array([labels[d["category_id"]] for d in own], dtype=np.int64),
            "scores": np.array([d["score"] for d in own], dtype=np.float64),
        }
    one = evaluate(split, detections)
    names = "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small ar_medium ar_large"
    return [getattr(one, name) for name in names.split()]


def boxes_of(document: Document) -> list[Any]:
    return sorted(
        (row["image_id"], row["category_id"], *row["bbox"], row["iscrowd"], row["area"])
        for row in document["annotations"]
    )


def boxes_here(split: Split) -> list[Any]:
    return sorted(
        (
            *(image.id, split.categories[label - 1].id, x1, y1, x2 - x1, y2 - y1),
            *(int(crowd), area),
        )
        for image in split.images
        for label, (x1, y1, x2, y2), crowd, area in zip(
            *(image.labels, image.boxes.tolist(), image.crowd, image.areas.tolist()), strict=True
        )
    )


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    root = tmp_path_factory.mktemp("mutated")
    for name in CLEAN:
        (root / name).mkdir()
        for k in range(3):
            Image.new("RGB", (WIDTH, HEIGHT), (80 * k, 0, 0)).save(root / name / f"{k}.png")
    return root


@dataclass(frozen=True)
class Loaded:
    split: Split
    problems: list[Problem]


def load(root: Path, name: str, text: str) -> Loaded | str:
    """The split and what was noted; or the one line by which it was refused."""
    (root / f"{name}.json").write_text(text, encoding="utf-8")
    own = None if name == "train" else CATEGORIES
    read: list[AnnotationFile] = []

    def remembered(*arguments: Any) -> AnnotationFile:
        read.append(read_annotations(*arguments))
        return read[-1]

    try:
        with mock.patch.object(coco, "read_annotations", remembered):
            split = load_split(root, name, categories=own)  # type: ignore[arg-type]
    except DataError as error:
        message = str(error)
        return message if "\n" not in message and f"{name}.json" in message else "no such line"
    for problem in read[0].problems:
        assert "\n" not in str(problem)
        assert str(problem).startswith(f"{name}.json: ")
    return Loaded(split, read[0].problems)


CATEGORIES = [Category(row["id"], row["name"]) for row in CLEAN["train"]["categories"]]


def assert_equal(split: Split, expected: Document, name: str) -> None:
    found = guesses(CLEAN[name])
    assert boxes_here(split) == boxes_of(expected)
    if name == "val":  # a class without a box there is judged all the same
        expected = {**expected, "categories": CLEAN["train"]["categories"]}
    key = json.dumps(expected)
    if key not in JUDGED:
        JUDGED[key] = judged_by_pycocotools(expected, found)
    ours, theirs = judged_here(split, found), JUDGED[key]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def names_row(problem: Problem, row: Row, clean_row: dict[str, Any]) -> bool:
    """Whether a problem names a row, by its place in the file or by its id."""
    table, place = row
    by_id = {"images": "image", "categories": "category"}.get(table)
    return f"{table}[{place}]" in str(problem) or (
        by_id is not None and problem.subject.split(" (")[0] == f"{by_id} {clean_row['id']}"
    )


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_values_of_any_type(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(("train", "val")))
    document = copy.deepcopy(CLEAN[name])
    mutations: dict[Row, Mutation] = {}
    for group in data.draw(st.lists(st.sampled_from(GROUPS[name]), min_size=1, max_size=3)):
        own = [m for m in MUTATIONS[name] if (m.table, m.changes[0][0], m.meaning) == group]
        mutation = data.draw(st.sampled_from(own))
        mutations[mutation.table, mutation.row] = mutation
    for mutation in mutations.values():
        mutation.apply(document)
    lost = {row for row, mutation in mutations.items() if mutation.meaning == "lost"}
    expected = without(CLEAN[name], lost)
    loaded = load(folder, name, json.dumps(document))
    if isinstance(loaded, str):
        # Refused as a whole only when no box is left.
        assert all(row["iscrowd"] for row in expected["annotations"]), loaded
        assert loaded != "no such line"
        return
    for row, mutation in mutations.items():
        about = [
            problem
            for problem in loaded.problems
            if names_row(problem, row, CLEAN[name][row[0]][row[1]])
        ]
        if mutation.meaning == "lost" and CLEAN[name][row[0]][row[1]] not in expected[row[0]]:
            goes = row[0] == "annotations" and goes_with_its_picture(row, lost, name)
            assert goes or any(problem.left_out for problem in about), mutation
        elif mutation.meaning == "noted" and CLEAN[name][row[0]][row[1]] in expected[row[0]]:
            assert any(not problem.left_out for problem in about), mutation
        elif mutation.meaning == "kept" and name == "train":
            assert not about or lost, (mutation, about)
    assert_equal(loaded.split, expected, name)


def goes_with_its_picture(row: Row, lost: set[Row], name: str) -> bool:
    image_id = CLEAN[name]["annotations"][row[1]]["image_id"]
    return any(
        table == "images" and CLEAN[name]["images"][k]["id"] == image_id for table, k in lost
    )


WHOLE_FILE: dict[str, tuple[Callable[[Document], str], str]] = {}


def whole_file(meaning: str) -> Callable[[Callable[[Document], Any]], Callable[[Document], Any]]:
    """Enters a mutation of more than one row; what it returns, if not text, is dumped as JSON."""

    def enter(mutate: Callable[[Document], Any]) -> Callable[[Document], Any]:
        def text(document: Document) -> str:
            result = mutate(document)
            return result if isinstance(result, str) else json.dumps(result or document)

        WHOLE_FILE[mutate.__name__] = (text, meaning)
        return mutate

    return enter


@whole_file("kept")
def as_pandas_writes_it(document: Document) -> None:
    for row in document["annotations"]:
        row.update({key: float(row[key]) for key in ("id", "image_id", "category_id", "iscrowd")})


@whole_file("kept")
def everything_as_text(document: Document) -> None:
    for rows in document.values():
        for row in rows:
            row.update({k: str(v) for k, v in row.items() if type(v) is int})
            if "bbox" in row:
                row["bbox"] = [str(v) for v in row["bbox"]]


@whole_file("kept")
def polygons_only(document: Document) -> None:
    for row in document["annotations"]:
        del row["bbox"]


@whole_file("kept")
def other_order_of_keys(document: Document) -> str:
    return json.dumps(document, sort_keys=True, indent=3)


@whole_file("kept")
def more_tables(document: Document) -> Document:
    return {"info": None, "licenses": [], "videos": {}, "": 3} | document


@whole_file("kept")
def rows_backwards(document: Document) -> None:
    for rows in document.values():
        rows.reverse()


@whole_file("kept")
def same_key_twice_alike(document: Document) -> str:
    return re.sub(r'("image_id": \d+)', r"\1, \1", json.dumps(document))


@whole_file("annotations[3]")
def same_key_twice(document: Document) -> str:
    old = json.dumps(document["annotations"][3])
    return json.dumps(document).replace(old, old[:-1] + ', "bbox": [1, 1, 5, 5]}')


@whole_file("the top level")
def same_table_twice(document: Document) -> str:
    return json.dumps(document)[:-1] + ', "annotations": []}'


@whole_file("categories[1]")
def one_id_two_names(document: Document) -> None:
    document["categories"][1]["id"] = str(document["categories"][0]["id"])


@pytest.mark.parametrize("name", ["train", "val"])
@pytest.mark.parametrize("mutation", WHOLE_FILE)
def test_whole_files(folder: Path, mutation: str, name: str) -> None:
    text, meaning = WHOLE_FILE[mutation]
    loaded = load(folder, name, text(copy.deepcopy(CLEAN[name])))
    if meaning == "kept":
        assert isinstance(loaded, Loaded), loaded
        assert not loaded.problems
        assert_equal(loaded.split, CLEAN[name], name)
    else:
        assert isinstance(loaded, str)
        assert meaning in loaded


NOT_A_TABLE = [None, {}, {"a": 1}, "x", "", 3, True, NAN, GONE]
NOT_A_ROW = [None, [], [1], "x", "", 3, True, NAN]


@pytest.mark.parametrize("name", ["train", "val"])
@pytest.mark.parametrize("table", ["images", "annotations", "categories"])
def test_what_is_no_table_or_no_row_is_refused(folder: Path, table: str, name: str) -> None:
    for value in NOT_A_TABLE:
        document = {**CLEAN[name], table: value}
        if value is GONE:
            del document[table]
        refused = load(folder, name, json.dumps(document))
        assert isinstance(refused, str)
        assert f"'{table}'" in refused
    for value in NOT_A_ROW:
        rows = [*CLEAN[name][table]]
        rows[1] = value
        refused = load(folder, name, json.dumps({**CLEAN[name], table: rows}))
        assert isinstance(refused, str)
        assert f"{table}[1]" in refused


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_json_anywhere(folder: Path, data: st.DataObject) -> None:
    """Whatever stands in a field, nothing but a DataError is raised, and nothing is made up."""
    leaf: st.SearchStrategy[Any] = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    )
    anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=5), max_leaves=6)
    anything |= st.dictionaries(st.sampled_from(["size", "counts", "id"]), anything, max_size=2)
    name = data.draw(st.sampled_from(("train", "val")))
    document = copy.deepcopy(CLEAN[name])
    fields = sorted({(table, key) for table, rows in document.items() for key in rows[0]})
    for table, key in data.draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3)):
        row = data.draw(st.integers(0, len(document[table]) - 1))
        document[table][row][key] = data.draw(anything)
    loaded = load(folder, name, json.dumps(document))
    if isinstance(loaded, Loaded):
        clean_ids = {row["id"] for row in CLEAN[name]["images"]}
        written = {row["id"] for row in document["images"] if type(row["id"]) is int}
        assert {i.id for i in loaded.split.images} <= clean_ids | written | {0, 1}
        for image in loaded.split.images:
            assert np.isfinite(image.boxes).all()
            assert (image.boxes[:, 2:] > image.boxes[:, :2]).all()
