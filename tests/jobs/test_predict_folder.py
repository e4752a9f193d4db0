"""`nas predict` over folders: every picture is done or told, and nothing of the user's is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nas.jobs.predict as job
from nas.cli.main import main
from nas.errors import RunError

Run = Callable[..., tuple[int, str, str]]
ROWS = [{"category_id": 1, "name": "nut", "score": 0.9, "bbox": [1.0, 1.0, 9.0, 9.0]}]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `nas predict`, with a model that sees one nut in every picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "load_trained", lambda *_: object())
    monkeypatch.setattr(job, "detections", lambda *_: ROWS)

    def call(*words: object) -> tuple[int, str, str]:
        code = main(["predict", "model", *map(str, words)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (20, 16), (0, 40 + number, 0)).save(folder / name)
    return folder


def table(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = json.loads((folder / "detections.json").read_text())
    return rows


def test_a_folder_is_done_to_its_end(run: Run, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pics", "a.png", "c.PNG", "d.gif", "e.TIF", "f.jfif", "g.pgm")
    (folder / "b.jpg").write_bytes((folder / "f.jfif").read_bytes()[:200])
    (folder / "notes.txt").write_text("x")
    pictures(folder / "more", "z.png")
    code, out, error = run("pics")
    assert code == 2
    assert sorted(table(Path("predictions"))) == [
        f"pics/{name}" for name in ("a.png", "c.PNG", "d.gif", "e.TIF", "f.jfif", "g.pgm")
    ]
    assert len(list(Path("predictions").glob("*.png"))) == 6
    assert error.startswith("nas: 1 of 7 pictures can't be read and are left out (the other 6 are")
    assert error.count("\n") == 1 and "pics/b.jpg" in error
    assert "pics/b.jpg: not a readable image" in out
    assert "passed over 1 file that can't be a picture (notes.txt)" in out
    assert "1 folders with pictures not looked into (more)" in out


def test_named_files_are_done_beside_missing_ones(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.dat.png")
    Path("b.dat.png").rename("b.dat")  # whatever its ending
    os.mkfifo("pipe.png")
    code, out, error = run("a.png", "gone.png", "b.dat", "pipe.png", "./a.png")
    assert code == 2 and "2 of 4 pictures can't be read" in error
    assert "gone.png: no such image file" in out and "pipe.png: neither a file nor" in out
    assert sorted(table(Path("predictions"))) == ["a.png", "b.dat"]


def test_one_picture_that_cannot_be_read_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    code, out, error = run("a.png")
    assert (code, out) == (2, "") and error.startswith("nas: a.png: not a readable image")
    code, _, error = run("gone.png")
    assert code == 2 and error.startswith("nas: gone.png: no such image file")
    assert not Path("predictions").exists()


def test_drawings_are_not_predicted_again(run: Run, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pics", "a.jpg", "b.png")
    mine = (folder / "b.png").read_bytes()
    for _ in range(2):
        code, out, error = run("pics", "--out", "pics")
        assert (code, error) == (0, "")
        assert sorted(table(folder)) == ["pics/a.jpg", "pics/b.png"]
        names = ["a.jpg", "a.png", "b-2.png", "b.png", "detections.json"]
        assert sorted(path.name for path in folder.iterdir()) == names
    assert "2 pictures passed over that an earlier prediction has drawn" in out
    assert (folder / "b.png").read_bytes() == mine
    code, out, _ = run("pics", "--out", "pics/boxes")
    assert code == 0 and "not looked into" not in out
    assert "not looked into" not in run("pics", "--out", "pics/boxes")[1]


def test_the_users_picture_in_the_results_is_kept(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "a.png")
    mine = (tmp_path / "a.png").read_bytes()
    assert run("a.jpg", "--out", ".")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == mine and (tmp_path / "a-2.png").exists()


def test_what_is_done_is_kept_when_it_is_stopped(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "pics", "a.png", "b.png", "c.png")
    shades: list[int] = []

    def stop(_: object, pixels: np.ndarray, __: float) -> list[dict[str, Any]]:
        shades.append(int(pixels[0, 0, 1]))
        if len(shades) == 3:
            raise KeyboardInterrupt
        return ROWS

    monkeypatch.setattr(job, "detections", stop)
    code, _, error = run("pics")
    assert (code, shades) == (130, [40, 41, 42])
    assert "stopped; 2 of 3 pictures are done and in predictions/detections.json" in error
    assert sorted(table(Path("predictions"))) == ["pics/a.png", "pics/b.png"]


def test_a_folder_for_results_is_tried_before_the_model_is_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path, "a.png")
    monkeypatch.setattr(job, "load_trained", pytest.fail)
    code, _, error = run("a.png", "--out", "a.png/below")
    assert code == 2 and "a.png/below: can't be written (a.png is no folder)" in error

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("nas.runs.outputs.tempfile.TemporaryFile", refuse)
    code, _, error = run("a.png", "--out", "new/results")
    assert code == 2 and "new/results: can't be written (Read-only file system)" in error
    assert not Path("new").exists()


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RunError("model: no weights")

    monkeypatch.setattr(job, "load_trained", refuse)
    pictures(tmp_path, "a.png")
    assert run("a.png", "--out", "new/results")[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_without_pictures_says_what_it_holds(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "pics/inner", "a.png")
    (tmp_path / "pics/._b.png").write_bytes(b"left by a Mac")
    code, _, error = run("pics")
    assert code == 2 and "pics: holds no pictures" in error
    assert "1 folders with pictures not looked into (inner)" in error and ".gif" in error
    shutil.rmtree("pics")
    assert "pics: no such image file" in run("pics")[2]
