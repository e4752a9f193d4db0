"""`nas compare` on runs of toys: what it says, and what it refuses in one line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import nas
from nas.cli.main import main
from nas.cost import profile
from nas.space import ChoiceSpace
from nas.study.settings import FinalistSettings, StudySettings
from search_spaces import zoo


class Toy:
    """A noisy score; `shift` stands for another proxy, `images` for what it is scored on."""

    def __init__(self, shift: float = 0.0, images: str = "these") -> None:
        self.shift, self.images = shift, images

    def __call__(self, candidate: dict[str, int], seed: int) -> dict[str, float]:
        score = sum(candidate.values()) / 20 + random.Random(seed).gauss(0, 0.05)
        return {"ap50": score + self.shift, "ap": score}

    def describe(self) -> dict[str, Any]:
        return {"settings": {"shift": self.shift}, "holdout": self.images}


def searched(path: Path, toy: Toy, *, seed: int = 0, repeats: int = 3, **options: Any) -> None:
    finalists = FinalistSettings(count=1, length=1, repeats=repeats) if repeats else None
    nas.search(
        ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(4)}),
        toy,
        "random",
        seed=seed,
        run=path,
        settings=StudySettings(finalists=finalists),
        **{"budget": 8, "objective": "ap50", **options},
    )
    (path / "config.yaml").write_text(f"job: search\nseed: {seed}\ndata_dir: /photos\n")


def trained(path: Path, ap: float | None, *, seed: int = 0, data: str = "these") -> None:
    path.mkdir()
    (path / "config.yaml").write_text(f"job: train\nseed: {seed}\nrecipe:\n  epochs: {9 + seed}\n")
    header = {
        "version": 1,
        "genome": json.loads(zoo.genome("spinenet-49").to_json()),
        "categories": [{"id": 3, "name": "bolt"}, {"id": 5, "name": "nut"}],
        "record": {"seed": seed, "data": data, "val": {"ap": ap, "ap50": 0.5, "ap_small": None}},
    }
    weights = {"x": np.zeros(1, dtype=np.float32)}
    save_file(weights, path / "model.safetensors", metadata={"nas": json.dumps(header)})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    searched(root / "plain", Toy())
    searched(root / "shifted", Toy(shift=0.1))
    searched(root / "again", Toy(images="those"), seed=1)
    searched(root / "elsewhere", Toy(images="others"))
    searched(root / "by-ap", Toy(), objective="ap")
    searched(root / "short", Toy(), repeats=0, budget=1)
    trained(root / "first", 0.31)
    trained(root / "second", 0.25, seed=4)
    trained(root / "other-data", 0.25, data="those")
    for name, job in {"begun": "train", "noise": "train", "odd": "[1]"}.items():
        (root / name).mkdir()
        (root / name / "config.yaml").write_text(f"job: {job}\n")
    (root / "noise" / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    (root / "empty").mkdir()
    return root


@pytest.fixture(autouse=True)
def _in_the_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return " ".join(capfd.readouterr().out.split())


def test_searches_that_pair(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "shifted", "plain"]) == 0
    text = said(capfd)
    # The same draws with the same seeds: each pair differs by the shift alone.
    assert "same architecture and seed: shifted is higher (8 pairs" in text
    assert "+0.1000 +0.1000 to +0.1000" in text
    assert "winner re-evaluated: shifted is higher (3 pairs" in text
    assert "expected best of 8: " in text and "A trial isn't the same in both" in text
    assert "many paired searches" in text


def test_in_python_it_returns_what_it_shows() -> None:
    found = nas.compare("plain", "shifted")
    assert found.names == ("plain", "shifted") and found.metric == "ap50"
    assert found.scores[0].interval == pytest.approx((-0.1, -0.1, -0.1))
    assert found.costs["trials"] == ("8", "8") and found.settings == {}


def test_other_images_get_no_verdict(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "plain", "again"]) == 0
    text = said(capfd)
    assert "scored on different images, since the runs differ in seed" in text
    assert "winner re-evaluated: no verdict" in text
    assert "higher (" not in text and "not distinguishable" not in text
    assert "settings that differ plain again" in text


def test_too_short_a_search_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "short", "plain"]) == 0
    text = said(capfd)
    assert "same architecture and seed: no verdict (a single pair" in text
    assert "short has no re-evaluation" in text


def test_trainings(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "first", "second"]) == 0
    text = said(capfd)
    assert "ap 0.310 0.250 +0.0600 –" in text and "ap50 0.500 0.500" in text
    assert "ap_small" not in text  # nothing is known of it
    params = profile(zoo.genome("spinenet-49"), num_classes=3).params / 1e6
    assert f"params {params:.4g} M {params:.4g} M" in text
    assert "recipe.epochs 9 13" in text
    assert "seeds 0 and 4" in text and "no difference here is a finding" in text
    assert "higher" not in text


BAD = {
    "a search and a training": ("plain first", "plain is a search and first a training"),
    "one run twice": ("plain ../{folder}/plain", "same run"),
    "different metrics": ("plain by-ap", "ap50 and ap; name"),
    "different data": ("plain elsewhere", "--data"),
    "trainings on different data": ("first other-data", "nas eval RUN --data DIR"),
    "a training that isn't finished": ("first begun", "nas resume begun"),
    "weights of noise": ("noise first", "noise/model.safetensors"),
    "a folder without a run": ("plain empty", "empty: holds no run"),
    "no folder": ("plian plain", "did you mean plain"),
    "a job that is none": ("plain odd", "odd/config.yaml: job is [1]"),
    "one run": ("plain", "RUN"),
}


@pytest.mark.parametrize(("words", "named"), BAD.values(), ids=BAD.keys())
def test_refused_in_one_line(
    words: str, named: str, runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words.format(folder=runs.name).split()]) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert named in printed.err
