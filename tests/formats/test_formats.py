"""Formats by name, and the architecture's JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import NasError
from nas.formats import export, parse_formats
from nas.genome import Genome
from search_spaces import zoo


def test_json_gives_back_the_genome(tmp_path: Path) -> None:
    genome = zoo.genome("spinenet-49s")
    (path,) = export(genome, (), tmp_path / "new" / "best.model", ["json"])
    assert path == tmp_path / "new" / "best.model.json"
    assert Genome.from_file(path) == genome
    assert [file.name for file in path.parent.iterdir()] == ["best.model.json"]


@pytest.mark.parametrize(
    ("names", "says"),
    [(["onx"], "did you mean 'onnx'"), (["tflite"], "known are json, onnx"), ([], "empty")],
)
def test_unknown_formats_are_refused(names: list[str], says: str) -> None:
    with pytest.raises(NasError, match=says):
        parse_formats(names)


def test_formats_come_once_and_in_order() -> None:
    assert parse_formats(["onnx", "json", "onnx"]) == ("onnx", "json")


def test_weights_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="train it first"):
        export(zoo.genome("spinenet-49"), (), tmp_path / "m", ["onnx"])


def test_a_place_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NasError, match="can't be written") as caught:
        export(zoo.genome("spinenet-49"), (), tmp_path / "file" / "m", ["json"])
    assert "\n" not in str(caught.value)
