"""The mobile space on the command line: its plan, what it refuses, a search with two inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.cli.main import main
from nas.config.loading import load_run
from nas.config.schema import SearchConfig
from nas.genome import Genome
from nas.runs.folder import Run
from search_spaces.mobile.space import MobileSpaceSettings

TWO_INPUTS = [
    *("--set=space.name=mobile", "--set=space.variant=ibn", "--set=space.deploy.width=0.25"),
    *("--set=space.deploy.input_size=160", "--set=space.input_factors=[0.8, 1.2]"),
]
SHORT = [
    *("--set=proxy.recipe.epochs=1", "--set=proxy.recipe.batch_size=8"),
    *("--set=finalists.count=1", "--set=finalists.length=1", "--set=finalists.repeats=1"),
    *("--set=compute.executor=inline", "--budget=3"),
]


def test_a_dry_run_shows_what_the_space_costs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(data), "--run", str(tmp_path / "run"), "--dry-run"]
    assert main(["search", *options, "--set", "space.name=mobile"]) == 0
    shown = capsys.readouterr().out
    assert "1.86e+34 codes of 49 decisions" in shown and "macs" in shown
    assert not (tmp_path / "run").exists()


def test_inputs_that_a_trial_can_t_tell_apart_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["search", "--data", str(data), "--run", str(tmp_path / "run"), *TWO_INPUTS]
    for scale in ("input_size=96", "input_factor=0.4"):
        assert main([*options, f"--set=proxy.scale.{scale}"]) == 2
        said = capsys.readouterr().err
        assert "of inputs of [128, 192]" in said and "proxy.scale.input_factor" in said
    assert not (tmp_path / "run").exists()


def test_a_search_with_two_inputs_and_its_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    assert main(["search", "--data", str(data), "--run", str(run), *TWO_INPUTS, *SHORT]) == 0
    config = load_run(Run(run).config)
    assert isinstance(config, SearchConfig) and isinstance(config.space, MobileSpaceSettings)
    assert config.proxy.scale.input_factor == 0.5
    genomes = [Genome.from_json(record.candidate_json) for record in Run(run).read_search()[0]]
    assert {genome.input.size for genome in genomes} <= {128, 192}
    assert main(["resume", str(run)]) == 0
    final = ["train", "--genome", str(run), "--data", str(data), "--run", str(tmp_path / "final")]
    short = ["--set=scale.input_factor=0.5", "--set=recipe.epochs=1", "--set=recipe.batch_size=8"]
    assert main([*final, *short]) == 0
    assert main(["report", str(run)]) == 0 and main(["show", str(run)]) == 0
