"""A search and a training from the same weights: the same bits, one identity, a trial's weights."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.cli.main import main
from nas.config.loading import load_search, load_train
from nas.config.overrides import Override
from nas.config.run_start import trained_genome
from nas.data.coco import load_split
from nas.jobs import final_training
from nas.models.pretrained.initial import resolve
from nas.models.pretrained.trials import KEPT, KeptTrials, trial_path
from nas.report.page import write_page
from nas.runs.folder import Run
from nas.study.interfaces import Event
from nas.study.trial import Trial
from nas.training import loop
from nas.training.weights import TrainedModel
from proxies import training
from proxies.settings import ProxySettings
from search_spaces.mobile.space import MobileSpace
from tests.models.lite import lite0_tensors, lite_file

SPACE = [
    *("--set=space.name=mobile", "--set=space.backbone=efficientnet-lite0"),
    *("--set=space.input_factors=[1.0]", "--set=space.deploy.input_size=128"),
    *("--set=proxy.recipe.epochs=1", "--set=proxy.recipe.batch_size=8"),
    *("--set=proxy.scale.input_factor=1.0", "--set=compute.executor=inline"),
    *("--set=finalists.count=1", "--set=finalists.length=1", "--set=finalists.repeats=1"),
]
SHORT = ["--set=recipe.epochs=1", "--set=recipe.batch_size=8"]


class Captured(Exception):
    pass


def captured(monkeypatch: pytest.MonkeyPatch, module: object) -> dict[str, Tensor]:
    """Ends a training before its first step, and fills a dict with all tensors of its model."""
    tensors: dict[str, Tensor] = {}

    def first(model: nn.Module, *_: object, **__: object) -> None:
        tensors.update({name: value.clone() for name, value in model.state_dict().items()})
        raise Captured

    monkeypatch.setattr(module, "train", first)
    return tensors


def test_a_trial_and_the_final_training_start_from_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tensors are equal: the file's, and those that it hasn't."""
    monkeypatch.chdir(tmp_path)
    genome = MobileSpace(backbone="efficientnet-lite0").sample(random.Random(1))
    genome = genome.scaled(input_size=128)
    starts = resolve(str(lite_file(tmp_path)), [genome])
    proxy = training.TrainingProxy(ProxySettings.model_validate({"scale": SAME}), data)
    proxy.starts = starts
    trial = captured(monkeypatch, loop)
    with pytest.raises(Captured):
        proxy(genome, seed=5)
    Path("genome.json").write_text(genome.to_json())
    config = load_train(
        None,
        [Override("--set", "genome", "genome.json"), Override("--set", "seed", 5)],
    )
    split = load_split(data, "train")
    final = final_training._first_model(config, trained_genome(config), split, starts.all)
    torch.testing.assert_close(trial, dict(final.state_dict()), rtol=0, atol=0)
    stem = next(value for name, value in trial.items() if value.shape == (32, 3, 3, 3))
    assert stem.equal(lite0_tensors()["_conv_stem.weight"])
    assert any("head" in name for name in trial)


SAME = dict.fromkeys(("alpha", "neck_width", "head_width", "input_size")) | {"width": 1.0}


@pytest.fixture(scope="module")
def searched(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two trials from a file."""
    root = tmp_path_factory.mktemp("init")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SPINENAS_CACHE", str(root / "cache"))
        words = ["search", "--data", str(data), "--run", str(root / "run"), "--budget=2"]
        assert main([*words, *SPACE, "--init", str(lite_file(root))]) == 0
    return root / "run"


def test_a_search_keeps_what_its_trials_end_with(searched: Path) -> None:
    records, _ = Run(searched).read_search()
    files = {trial_path(Run(searched).trials, row.key, row.seed) for row in records}
    assert files == set(Run(searched).trials.iterdir()) and len(files) == len(records)
    trained = TrainedModel.load(trial_path(Run(searched).trials, records[0].key, records[0].seed))
    assert trained.genome.key == records[0].key and len(trained.categories) == 3


def test_the_page_says_what_trials_started_from(searched: Path, tmp_path: Path) -> None:
    page = write_page(searched, tmp_path).read_text()
    digest = hashlib.sha256((searched.parent / "efficientnet-lite0.pth").read_bytes()).hexdigest()
    assert f"started from pretrained weights: efficientnet-lite0.pth {digest[:16]}" in page


def test_another_start_is_another_search(
    searched: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It doesn't go on with the run, nor take its results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(searched.parent / "cache"))
    other = lite0_tensors(seed=1)
    torch.save(other, "efficientnet-lite0.pth")
    words = ["search", "--data", str(data), *SPACE, "--budget=3", "--run"]
    for init, there in (("none", '"none"'), ("efficientnet-lite0.pth", "efficientnet-lite0.pth ")):
        assert main([*words, str(searched), "--init", init]) == 2
        error = capsys.readouterr().err
        assert "--init was" in error and there in error.partition("is now")[2]
        again = [str(tmp_path / "new"), "--init", init, "--warm-start", str(searched)]
        assert main([*words, *again]) == 2
        assert "its results can't be used here, since --init is" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_training_goes_on_from_a_trial(
    searched: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(searched.parent / "cache"))
    words = ["train", "--data", str(data), *SHORT, "--genome", f"{searched}:1"]
    assert main([*words, "--init", f"{searched}:1", "--run", "final"]) == 0
    shown = capsys.readouterr().out
    assert "the training starts from run:1 (sha256" in shown and "made new" not in shown
    record = TrainedModel.load(Run(Path("final")).weights).record
    assert record["init"].startswith("run:1 ")
    assert main([*words, "--init", "none", "--run", "final"]) == 2
    assert '--init was "run:1 ' in capsys.readouterr().err
    for reference, init, problem in (
        (f"{searched}:1", f"{searched}:99", "no such trial; the run has trials 0 to"),
        (f"{searched}:0", f"{searched}:1", "the trial trained another network"),
        ("spinenet-49", f"{searched}:1", f"give --genome {searched}:1"),
    ):
        options = ["--genome", reference, "--init", init, "--run", "other"]
        assert main(["train", "--data", str(data), *options]) == 2
        error = capsys.readouterr().err
        assert problem in error and error.count("\n") == 1
    kept = trial_path(Run(searched).trials, *first_of(searched))
    moved = kept.rename(tmp_path / "moved")
    try:
        options = ["--genome", f"{searched}:0", "--init", f"{searched}:0", "--run", "other"]
        assert main(["train", "--data", str(data), *options]) == 2
        assert "its weights weren't kept" in capsys.readouterr().err
    finally:
        moved.rename(kept)
    assert not Path("other").exists()


def first_of(run: Path) -> tuple[str, int]:
    row = Run(run).read_search()[0][0]
    return row.key, row.seed


def test_the_best_trials_stay(tmp_path: Path) -> None:
    """Of three more than are kept the three worst go; what failed or was stopped goes at once."""
    run = Run(tmp_path)
    run.trials.mkdir()
    kept = KeptTrials(run, "ap", [])
    scores = random.Random(0).sample(range(100), KEPT + 3)
    for number, score in enumerate(scores):
        trial = Trial(number, "controller", (), f"{number:064x}", None, seed=number)
        trial_path(run.trials, trial.key, trial.seed).touch()
        kept(Event("completed", trial, {"ap": score / 100}))
    best = sorted(range(len(scores)), key=lambda number: -scores[number])[:KEPT]
    names = {trial_path(run.trials, f"{number:064x}", number) for number in best}
    assert set(run.trials.iterdir()) == names
    trial = Trial(99, "controller", (), "f" * 64, None, seed=99)
    path = trial_path(run.trials, trial.key, trial.seed)
    for event in (Event("completed", trial, {"ap": 1.0}, stopped=True), Event("completed", trial)):
        path.touch()
        kept(event)
        assert not path.exists()


def test_a_recipe_names_its_own_start() -> None:
    assert load_train(None).init == "auto" and load_search(None).init == "auto"
    for base in ("spinenet_a", "spinenet_b", "spinenet_c"):
        assert load_train(None, [Override("--set", "recipe", base)]).init == "none"
    assert load_search(None, [Override("--set", "proxy.recipe", "spinenet_c")]).init == "none"
    own = [Override("--set", "recipe", "spinenet_c"), Override("--init", "init", "auto")]
    assert load_train(None, own).init == "auto"
