"""Classes and their ids in one file, and in two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.data.check import check
from nas.data.coco import Category, load_split
from nas.errors import DataError

Maker = Callable[..., Path]


def rows(*category_ids: Any) -> list[dict[str, Any]]:
    return [
        {"id": k + 1, "image_id": 5, "category_id": key, "bbox": [1 + k, 1, 5, 5]}
        for k, key in enumerate(category_ids)
    ]


def named(**ids: Any) -> list[dict[str, Any]]:
    return [{"id": key, "name": name} for name, key in ids.items()]


def test_ids_that_are_words_are_told_as_that(make_folder: Maker) -> None:
    root = make_folder(1, categories=named(bolt="bolt", nut="nut"), annotations=rows("bolt"))
    with pytest.raises(DataError) as caught:
        load_split(root)
    assert str(caught.value) == (
        f"{root}/train.json: none of its 2 categories has a whole number as id, the first is "
        "categories[0] ('bolt'): number them 1, 2, 3, … and write these numbers as category_id"
    )


def test_ids_that_are_numbers_as_text_are_these_numbers(make_folder: Maker) -> None:
    root = make_folder(1, categories=named(bolt="2", nut=7.0), annotations=rows(2, "7", "2.0"))
    split = load_split(root)
    assert split.categories == (Category(2, "bolt"), Category(7, "nut"))
    assert split.images[0].labels.tolist() == [1, 2, 1]


def test_one_name_under_two_ids_is_told_and_both_are_counted(make_folder: Maker) -> None:
    categories = [*named(nut=1, bolt=3, Washer=4), {"id": 2, "name": "nut"}]
    categories += [{"id": 5, "name": " washer"}, {"id": 6, "name": "bolt"}]  # 6 has no box
    root = make_folder(1, categories=categories, annotations=rows(1, 2, 2, 3, 4, 5))
    report = check(root)
    counts = report.summaries[0].per_class
    assert counts == {
        **{"nut (1)": 1, "nut (2)": 2, "bolt (3)": 1},
        **{"Washer": 1, " washer": 1, "bolt (6)": 0},
    }
    notes = [p for p in report.problems if p.kind == "one name under two ids"]
    assert [p.subject for p in notes] == ["category 2 (nut)", "category 5 ( washer)"]
    assert "category 1 (nut)" in notes[0].detail
    assert not any(note.left_out for note in notes)


@pytest.fixture
def judge(make_folder: Maker) -> Callable[..., Any]:
    """Reads a `val` by the classes of a `train` in which nut is 1 and bolt 2."""

    def read(categories: list[dict[str, Any]], *category_ids: Any) -> Any:
        train = load_split(make_folder(1, categories=named(nut=1, bolt=2), annotations=rows(1, 2)))
        root = make_folder(
            1,
            json_path="val.json",
            folder="val",
            categories=categories,
            annotations=rows(*category_ids),
        )
        return load_split(root, "val", categories=train.categories)

    return read


@pytest.mark.parametrize("name", ["bolt", "Bolt", " bolt ", "\uff42olt"])
def test_a_class_under_another_id_is_refused(judge: Callable[..., Any], name: str) -> None:
    categories = [{"id": 1, "name": "nut"}, {"id": 3, "name": name}]
    with pytest.raises(DataError, match=r"id 3 here and id 2 in .* one class under two ids") as it:
        judge(categories, 1, 3)
    assert "val.json" in str(it.value)
    assert "\n" not in str(it.value)


def test_a_class_under_another_id_without_a_box_does_not_matter(judge: Callable[..., Any]) -> None:
    assert len(judge(named(nut=1, bolt=3), 1).images[0].boxes) == 1


def test_swapped_ids_are_refused(judge: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="category id 1 is 'bolt' here and 'nut' in the training"):
        judge(named(bolt=1, nut=2), 1, 2)


def test_a_name_in_another_case_is_one_class(
    judge: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    split = judge(named(NUT=1, bolt=2), 1, 2)
    assert split.images[0].labels.tolist() == [1, 2]
    assert "1 x name differs from train's" in caplog.text


def test_an_image_id_of_two_files_takes_both_along(
    make_folder: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    images = [
        {"id": 5, "file_name": "0.png"},
        {"id": "5", "file_name": "1.png"},
        {"id": 6, "file_name": "2.png"},
    ]
    root = make_folder(3, images=images, annotations=[*rows(2), {**rows(7)[0], "image_id": 6}])
    split = load_split(root)
    assert [image.id for image in split.images] == [6]
    assert len(split.images[0].boxes) == 1
    assert "2 x image id of several files" in caplog.text
