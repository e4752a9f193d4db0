"""Pictures that can't be decoded, and folders that are refused or told, through all commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.jobs.evaluate import evaluate
from nas.training.weights import TrainedModel


def cut(path: Path) -> None:
    """Leaves a picture's header whole and takes the rest of it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def copy(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Path(shutil.copytree(data, tmp_path / "folder"))


def rows(folder: Path, split: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{split}.json").read_text())
    return document


def without(folder: Path, split: str, names: set[str]) -> None:
    """Takes images, and their boxes, out of an annotation file."""
    document = rows(folder, split)
    gone = {image["id"] for image in document["images"] if image["file_name"] in names}
    for table, key in (("images", "id"), ("annotations", "image_id")):
        document[table] = [row for row in document[table] if row[key] not in gone]
    (folder / f"{split}.json").write_text(json.dumps(document))


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    error = capfd.readouterr().err
    assert error.startswith("nas: ") and error.count("\n") == 1, error
    return error


def test_undecodable_pictures_of_val(
    copy: Path, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """They are in no number of `eval`, are passed over by export and show, and are counted."""
    images = rows(copy, "val")["images"]
    broken = {image["file_name"] for image in images[:2]}
    ids = {image["id"] for image in images[:2]}
    boxes = sum(row["image_id"] in ids for row in rows(copy, "val")["annotations"])
    for path in copy.rglob("*.jpg"):
        if path.parent.name == "val" and path.name in broken:
            cut(path)
    assert main(["eval", str(trained), "--data", str(copy), "--out", "out"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    note = f"2 of the {len(images)} images of val can't be decoded; they and their {boxes} boxes"
    assert note in out and f"{len(images) - 2} images" in out
    assert main(["export", str(trained), "--data", str(copy), "--out", "exported"]) == 0
    assert "2 pictures can't be decoded" in " ".join(capfd.readouterr().out.split())
    assert main(["data", "show", str(copy)]) == 0
    metrics = json.loads(Path("out/metrics.json").read_text())
    model = TrainedModel.load(trained / "model.safetensors")
    without(copy, "val", broken)
    assert evaluate(model, copy).to_dict() == metrics


def test_a_val_of_which_nothing_can_be_decoded(
    copy: Path, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in (copy / "val").iterdir():
        cut(path)
    small = ["--set=scale.width=0.0625", "--set=scale.head_width=8", "--set=scale.input_size=128"]
    for words in (
        ["eval", str(trained), "--data", str(copy)],
        ["export", str(trained), "--data", str(copy), "--out", "exported"],
        ["data", "show", str(copy)],
        ["train", "--genome", "spinenet-49", "--data", str(copy), "--run", "run", *small],
        ["data", "check", str(copy)],
    ):
        assert main(words) == 2, words
        assert "decoded" in one_line(capfd) or words[:2] == ["data", "check"]
    assert not Path("run/metrics.jsonl").exists()  # nothing was trained


@pytest.mark.parametrize("mode", ["cache", "decode"])
def test_a_training_among_undecodable_pictures(
    copy: Path, capfd: pytest.CaptureFixture[str], mode: str
) -> None:
    """They are passed over in training and at its end, however the pixels are kept."""
    names = [
        [row["file_name"] for row in rows(copy, split)["images"]] for split in ("train", "val")
    ]
    for split, name in (("train", names[0][0]), ("train", names[0][5]), ("val", names[1][1])):
        cut(copy / split / name)
    words = ["train", "--genome", "spinenet-49", "--data", str(copy), "--run", "run"]
    words += ["--set=recipe.epochs=1", "--set=recipe.batch_size=8", "--set=scale.width=0.0625"]
    words += ["--set=scale.head_width=8", "--set=scale.input_size=128", f"--set=data.pixels={mode}"]
    assert main(words) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "2 of the" in out and out.count("can't be decoded") == 2
    metrics = json.loads(Path("run/metrics.json").read_text())
    without(copy, "val", {names[1][1]})
    model = TrainedModel.load(Path("run/model.safetensors"))
    assert evaluate(model, copy).to_dict() == metrics


def test_trials_among_undecodable_pictures(
    copy: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """The hold-out's decodable images are judged; if it has none, the search doesn't begin."""
    broken = sorted((copy / "train").iterdir())
    for path in broken[::2]:
        cut(path)
    words = ["search", "--data", str(copy), "--budget=1", *small]
    assert main([*words, "--run", "run"]) == 0
    assert "can't be decoded" in capfd.readouterr().out
    for path in broken[1::2]:
        cut(path)
    assert main([*words, "--run", "other"]) == 2
    assert "can be decoded" in one_line(capfd)


SMALL_TRAIN = ["--set=scale.width=0.0625", "--set=scale.input_size=128", "--dry-run"]


def keep(folder: Path, split: str, images: int) -> None:
    document = rows(folder, split)
    without(folder, split, {row["file_name"] for row in document["images"][images:]})


@pytest.mark.parametrize(
    ("images", "searches", "trains"),
    [(1, "cannot be cut|1 image to train on", "1 image to train on"), (2, "1 image is left", "")],
)
def test_too_few_images_are_refused_before_any_work(
    copy: Path,
    small: list[str],
    capfd: pytest.CaptureFixture[str],
    images: int,
    searches: str,
    trains: str,
) -> None:
    keep(copy, "train", images)
    assert main(["search", "--data", str(copy), "--run", "r", "--budget=1", *small]) == 2
    error = one_line(capfd)
    assert any(part in error for part in searches.split("|"))
    code = main(["train", "--genome", "spinenet-49", "--data", str(copy), *SMALL_TRAIN])
    assert code == (2 if trains else 0)
    if trains:
        assert trains in one_line(capfd)
    capfd.readouterr()
    assert main(["data", "check", str(copy)]) == 2
    assert ("nas search and nas train refuse" if trains else "nas search refuses") in one_line(
        capfd
    )
    assert not Path("r").exists()


def test_search_tells_what_the_training_would_refuse(
    copy: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    document = rows(copy, "val")
    for row in document["annotations"]:
        row["iscrowd"] = 1
    (copy / "val.json").write_text(json.dumps(document))
    words = ["--data", str(copy), "--run", "r"]
    assert main(["search", *words, "--budget=1", *small, "--dry-run"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "note: nas train refuses this folder" in out and "crowds, which are no ground" in out
    assert main(["train", "--genome", "spinenet-49", *words]) == 2
    assert "crowds, which are no ground truth" in one_line(capfd)


def test_a_val_that_is_a_copy_of_train_is_told(
    copy: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copy / "val")
    shutil.copytree(copy / "train", copy / "val")
    shutil.copy(copy / "train.json", copy / "val.json")
    count = len(rows(copy, "val")["images"])
    said = f"{count} of {count} images are in train too"
    words = ["--data", str(copy), "--run", "r", "--dry-run"]
    assert main(["search", *words, "--budget=1", *small]) == 0
    assert said in " ".join(capfd.readouterr().out.split())
    assert main(["train", "--genome", "spinenet-49", *words, *SMALL_TRAIN[:2]]) == 0
    assert said in " ".join(capfd.readouterr().out.split())
    assert main(["data", "check", str(copy)]) == 0
    out = capfd.readouterr().out
    assert f"{count} x picture in both splits: used all the same; everything is used" in out
    assert "left out" not in out


def test_a_resumed_search_names_the_data_that_changed(
    copy: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--data", str(copy), "--run", "r", "--budget=1"]
    assert main([*words, *small]) == 0
    capfd.readouterr()
    before = (copy / "train.json").read_text()
    document = rows(copy, "train")
    document["annotations"][0]["bbox"][0] += 1
    (copy / "train.json").write_text(json.dumps(document))
    assert main(["resume", "r", "--budget=2"]) == 2
    assert "the data changed since this run began: the boxes of" in one_line(capfd)
    keep(copy, "train", len(document["images"]) - 1)
    assert main(["resume", "r", "--budget=2"]) == 2
    count = len(document["images"])
    assert f"the images ({count} then, {count - 1} now) of" in one_line(capfd)
    (copy / "train.json").write_text(before)
    assert main([*words, *small, "--seed=5"]) == 2
    assert "the seed was 0 when this run began and is now 5" in one_line(capfd)
    assert main([*words, *small, "--set=data.holdout=0.3"]) == 2
    assert "data.holdout was 0.1 when this run began and is now 0.3" in one_line(capfd)
    (Path("r") / "data.json").unlink()  # as of a run from before it was kept
    (copy / "train.json").write_text(json.dumps(document))
    assert main(["resume", "r", "--budget=2"]) == 2
    assert "the data, or how the hold-out is drawn, changed since this run" in one_line(capfd)
