"""`nas eval`: its tables, its files, and what it refuses in one line."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.cli.main import main
from nas.evaluation.metrics import ClassNumbers, Metrics
from nas.jobs.evaluate import evaluate
from nas.training.weights import TrainedModel
from nas.ui.console import console
from nas.ui.metric_tables import classes_table, numbers_table

TWELVE = (
    *("AP", "AP50", "AP75", "AP small", "AP medium", "AP large"),
    *("AR 1", "AR 10", "AR 100", "AR small", "AR medium", "AR large"),
)


def printed(table: Any) -> str:
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def some(**classes: ClassNumbers) -> Metrics:
    numbers: list[Any] = [*(0.1 + place / 100 for place in range(11)), math.nan, 0.5, classes]
    return Metrics(*numbers)


def test_the_table_has_the_twelve_numbers_and_ap_common() -> None:
    lines = printed(numbers_table(some(), "x")).splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in lines if "│" in line]
    shown = dict(cells)
    assert [shown[name] for name in TWELVE[:11]] == [f"{0.1 + k / 100:.3f}" for k in range(11)]
    assert shown["AR large"] == "–" and shown["AP common"] == "0.500"


def test_classes_stand_worst_first_and_rare_ones_are_marked() -> None:
    text = printed(
        classes_table(
            some(
                cup=ClassNumbers(12, 0.5, 0.8),
                bolt=ClassNumbers(9, 0.25, 0.5),
                nut=ClassNumbers(0, math.nan, math.nan),
            )
        )
    )
    assert text.index("bolt") < text.index("cup") and "nut" not in text
    assert "1 have no box" in text and text.count("fewer than 10 boxes") == 1


def test_of_many_classes_the_ends_are_shown() -> None:
    many = {f"class{k:02}": ClassNumbers(20, k / 100, k / 50) for k in range(31)}
    text = printed(classes_table(some(**many)))
    shown = [name for name in many if name in text]
    assert shown == [*list(many)[:10], *list(many)[-5:]]
    assert "of 31" in text


def test_files_hold_all_numbers_and_the_curves(
    trained: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "eval"
    assert main(["eval", str(trained), "--data", str(data), "--out", str(out)]) == 0
    printed = capfd.readouterr().out
    files = ["metrics.json", "classes.csv", "precision_recall.csv", "precision_recall.png"]
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    assert all(str(out / name) in printed for name in files)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == json.loads((trained / "metrics.json").read_text())
    with (out / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    val = json.loads((data / "val.json").read_text())
    counts = {
        category["name"]: sum(a["category_id"] == category["id"] for a in val["annotations"])
        for category in val["categories"]
    }
    assert {row["class"]: int(row["boxes"]) for row in rows} == counts
    with (out / "precision_recall.csv").open(newline="") as file:
        curves = list(csv.DictReader(file))
    assert [float(row["recall"]) for row in curves] == [k / 100 for k in range(101)]
    mean = sum(float(row["mean at IoU 0.50"]) for row in curves) / 101
    assert mean == pytest.approx(metrics["ap50"], abs=1e-5)
    assert (out / "precision_recall.png").read_bytes().startswith(b"\x89PNG")


def told(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    error = capfd.readouterr().err
    assert error.startswith("nas: ") and error.count("\n") == 1, error
    return error


def test_a_folder_that_cannot_be_made_is_named(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    error = told(["eval", str(trained), "--out", str(tmp_path / "file")], capfd)
    assert "name another --out" in error


@pytest.fixture
def altered(data: Path, tmp_path: Path) -> Any:
    """Makes a copy of the data whose annotations of one split are changed."""

    def alter(split: str, change: Any) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(data, folder, dirs_exist_ok=True)
        document = json.loads((folder / f"{split}.json").read_text())
        change(document)
        (folder / f"{split}.json").write_text(json.dumps(document))
        return folder

    return alter


def test_val_without_boxes(trained: Path, altered: Any, capfd: pytest.CaptureFixture[str]) -> None:
    folder = altered("val", lambda document: document["annotations"].clear())
    for words in (
        ["eval", str(trained), "--data", str(folder)],
        ["train", "--genome", "spinenet-49", "--data", str(folder), "--run", str(folder / "run")],
    ):
        assert "val.json: no usable box on 6 images" in told(words, capfd)
    assert not (folder / "run").exists()


def _with_another_class(document: dict[str, Any]) -> None:
    document["categories"].append({"id": 77, "name": "wrench"})
    for annotation in document["annotations"][:2]:
        annotation["category_id"] = 77


def test_a_category_of_val_that_train_has_not(
    trained: Path, altered: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """It can't be judged: the note names it and counts its boxes."""
    folder = altered("val", _with_another_class)
    assert main(["eval", str(trained), "--data", str(folder)]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "2 x box of category 77 (wrench), which isn't trained on" in said
    assert main(["data", "check", str(folder)]) == 2
    assert "category 77 (wrench), which isn't trained on" in capfd.readouterr().out


def test_a_class_of_val_without_boxes_in_train(
    altered: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is judged, and counts as an AP of 0: the note says so before the training."""
    folder = altered("val", _with_another_class)
    document = json.loads((folder / "train.json").read_text())
    document["categories"].append({"id": 77, "name": "wrench"})
    (folder / "train.json").write_text(json.dumps(document))
    small = ["--set=scale.width=0.0625", "--set=scale.input_size=128", "--dry-run"]
    assert main(["train", "--genome", "spinenet-49", "--data", str(folder), *small]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "has boxes of wrench, and train has none: what isn't learnt counts as AP 0" in said


def test_weights_that_are_not_finite(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = TrainedModel.load(trained / "model.safetensors")
    name, weight = next(iter(model.detector.named_parameters()))
    with torch.no_grad():
        weight.view(-1)[0] = math.nan
    model.save(tmp_path / "model.safetensors")
    error = told(["eval", str(tmp_path / "model.safetensors")], capfd)
    assert f"{name} holds numbers that aren't finite" in error and "recipe.lr" in error


def test_a_trained_model_is_judged_as_it_is(trained: Path, data: Path) -> None:
    model = TrainedModel.load(trained / "model.safetensors")
    assert evaluate(model, data).to_dict() == model.record["val"]
