"""COCO files mutated at random, against pycocotools on the clean file.

Each mutation says what it does to the meaning. *Kept*: boxes and all twelve numbers are those of
the clean file. *Noted*: so too, and a note names the row. *Lost*: the row is counted as left out,
and the numbers are those of the clean file without it; or the whole file is refused in one line
that names file and row.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.data.problems import Problem
from tests.data.judged import Loaded, assert_equal, load, without
from tests.data.mutations import (
    CLEAN,
    GONE,
    GROUPS,
    HEIGHT,
    MUTATIONS,
    NAN,
    WIDTH,
    Document,
    Mutation,
    Row,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    root = tmp_path_factory.mktemp("mutated")
    for name in CLEAN:
        (root / name).mkdir()
        for k in range(3):
            Image.new("RGB", (WIDTH, HEIGHT), (80 * k, 0, 0)).save(root / name / f"{k}.png")
    return root


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
