"""The main job from end to end, as small as it gets: search, train, evaluate, predict, export."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from nas.cli.main import main


@pytest.fixture(autouse=True)
def _elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("SPINENAS_CACHE", str(home / "cache"))


def test_a_search_leaves_a_winner_and_a_store(searched: Path) -> None:
    genome = json.loads((searched / "genome.json").read_text())
    assert genome["version"] == 1 and len(genome["taps"]) == 5
    assert (searched / "trials.sqlite").is_file() and (searched / "config.yaml").is_file()


def test_the_same_command_again_runs_nothing_again(
    searched: Path, data: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--data", str(data), "--run", str(searched), "--budget=2", *small]) == 0
    assert "trial 0" not in capfd.readouterr().out.split("best of")[0]


def test_resume_goes_on_with_a_larger_budget(
    searched: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(searched), "--budget=3"]) == 0
    assert "best of 3 trials" in capfd.readouterr().out


def test_resume_refuses_another_proxy(
    searched: Path, data: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    changed = [*small, "--set=proxy.recipe.epochs=2"]
    assert main(["search", "--data", str(data), "--run", str(searched), *changed]) == 2
    assert "epochs" in capfd.readouterr().err


def test_a_refused_command_leaves_the_run_as_it_was(
    searched: Path, data: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    before = (searched / "config.yaml").read_bytes(), (searched / "genome.json").read_bytes()
    words = ["search", "--data", str(data), "--run", str(searched), *small, "--set=seed=5"]
    assert main(words) == 2
    assert main(["train", "--data", str(data), "--run", str(searched)]) == 2
    assert "holds a search" in capfd.readouterr().err
    assert before == (
        (searched / "config.yaml").read_bytes(),
        (searched / "genome.json").read_bytes(),
    )


def test_a_warm_start_refuses_what_was_scored_otherwise(
    home: Path, searched: Path, data: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    training = home / "training"
    training.mkdir()
    (training / "config.yaml").write_text("job: train\n")
    words = ["search", "--data", str(data), "--run", str(home / "warm"), "--budget=1", *small]
    for run, changed, said in (
        (
            searched,
            ["--set=data.holdout=0.5"],
            "since the data, or how the hold-out is drawn, is another there",
        ),  # other images
        (searched, ["--set=proxy.recipe.epochs=2"], "since proxy.recipe.epochs is 1"),
        (training, [], "there is no such run; name a folder that a search has written"),
    ):
        assert main([*words, "--warm-start", str(run), *changed]) == 2
        assert said in capfd.readouterr().err
    assert not (home / "warm").exists()


def test_a_warm_start_knows_the_other_run_s_trials(
    home: Path, searched: Path, data: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    warm = home / "warm"
    words = ["search", "--data", str(data), "--run", str(warm), "--budget=1", *small]
    assert main([*words, "--warm-start", str(searched)]) == 0
    assert re.search(r"best of 1 trials and [23] earlier ones", capfd.readouterr().out)
    assert main(["resume", str(warm)]) == 0


def test_a_search_needs_no_val(home: Path, data: Path, small: list[str]) -> None:
    shutil.copytree(data, home / "no-val", ignore=shutil.ignore_patterns("val*"))
    words = ["search", "--data", str(home / "no-val"), "--run", str(home / "dry"), *small]
    assert main([*words, "--dry-run"]) == 0


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    home: Path, data: Path, small: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--data", str(data), "--run", str(home / "dry"), "--dry-run", *small]
    assert main([*words, "--limit=params=25e6"]) == 0
    out = capfd.readouterr().out
    assert "95 % certainty" in out and "percentiles of 300" in out and "plan of the" in out
    assert all(name in out for name in ("params", "macs", "bits"))
    assert "predictor" in out and re.search(r"early stopping\W+none", out)
    assert not (home / "dry").exists()


def test_top_show_report_and_profile(
    home: Path, searched: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", str(searched)]) == 0
    assert main(["show", str(searched), "spinenet-49", "--out", str(home / "shown")]) == 0
    assert {path.suffix for path in (home / "shown").iterdir()} == {".svg", ".png"}
    assert main(["report", str(searched)]) == 0
    assert (searched / "report" / "index.html").is_file()
    assert main(["profile", "spinenet-49s"]) == 0
    assert "11,265,942 parameters" in capfd.readouterr().out


def test_a_training_has_no_page(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for verb in ("report", "top"):
        assert main([verb, str(trained)]) == 2
        assert "holds a training, and only searches have" in capfd.readouterr().err


def test_training_writes_numbers_and_weights(trained: Path) -> None:
    numbers = json.loads((trained / "metrics.json").read_text())
    assert 0 <= numbers["ap50"] <= 1
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert (trained / "model.safetensors").is_file()


def test_evaluation_gives_what_training_wrote(
    trained: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from nas.jobs.evaluate import evaluate

    numbers = json.loads((trained / "metrics.json").read_text())
    assert evaluate(trained, data).to_dict() == numbers
    assert main(["eval", str(trained)]) == 0  # on the data that it was trained on


def test_a_training_outlives_the_folder_of_its_data(
    trained: Path, data: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, here = home / "moved", ["--data", str(data)]
    shutil.copytree(trained, run)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(data), str(home / "gone")))
    assert main(["eval", str(run)]) == main(["resume", str(run)]) == 2
    assert capfd.readouterr().err.count(f"there is no folder {home / 'gone'}") == 2
    assert main(["eval", str(run), *here]) == 0
    assert main(["export", str(run), "--format=json", *here]) == 0
    assert main(["resume", str(run), *here]) == 0
    assert (run / "config.yaml").read_text() == config  # where the data are now, kept
    assert (run / "metrics.json").read_text() == (trained / "metrics.json").read_text()


def test_prediction_draws_and_lists(trained: Path, data: Path, home: Path) -> None:
    picture = sorted((data / "val").iterdir())[0]
    out = home / "predicted"
    assert main(["predict", str(trained), str(picture), "--out", str(out), "--score=0.001"]) == 0
    found = json.loads((out / "detections.json").read_text())[str(picture)]
    with Image.open(picture) as image, Image.open(out / f"{picture.stem}.png") as drawn:
        assert drawn.size == image.size
        for row in found:
            x, y, width, height = row["bbox"]
            assert x >= 0 and x + width <= image.width + 0.01
            assert y >= 0 and y + height <= image.height + 0.01


def test_prediction_leaves_the_users_pictures_alone(
    trained: Path, data: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "mine"
    folder.mkdir()
    with Image.open(sorted((data / "val").iterdir())[0]) as image:
        image.save(folder / "photo.png")
    before = (folder / "photo.png").read_bytes()
    monkeypatch.chdir(folder)
    assert main(["predict", str(trained), "photo.png", "--out", "."]) == 0
    assert (folder / "photo.png").read_bytes() == before


def test_export_gives_files_that_passed_their_check(trained: Path, data: Path, home: Path) -> None:
    words = ["export", str(trained), "--format=json,onnx", "--out", str(home / "shipped")]
    assert main([*words, "--data", str(data)]) == 0
    assert {path.name for path in (home / "shipped").iterdir()} == {"model.json", "model.onnx"}
