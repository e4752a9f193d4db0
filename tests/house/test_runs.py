"""Run folders and references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from nas.errors import NasError, RunError
from nas.genome import Genome
from nas.runs import folder as runs
from nas.runs.folder import Run
from nas.runs.reference import parse
from nas.study.store import Store
from nas.study.trial import Record, Status
from search_spaces import zoo


@pytest.fixture(scope="module")
def genomes() -> list[Genome]:
    return [zoo.genome(name) for name in ("spinenet-49s", "spinenet-49", "spinenet-96")]


def row(number: int, genome: Genome, reward: float | None, **fields: Any) -> Record:
    status = Status.ASKED if reward is None else Status.DONE
    metrics = {} if reward is None else {"ap50": reward}
    return Record(
        number=number,
        arm="controller",
        source="controller",
        phase=fields.pop("phase", "search"),
        code=(number,),
        key=genome.key,
        kept_json=genome.to_json(),
        seed=number,
        status=status,
        metrics=metrics,
        reward=reward,
        ask_seq=2 * number,
        tell_seq=None if reward is None else 2 * number + 1,
        **fields,
    )


def searched(folder: Path, *rows: Record) -> Run:
    run = Run.make(folder)
    with Store.open(run.store) as store:
        store.claim({"objective": {"maximize": "ap50"}})
        if rows:
            store.write(*rows)
    return run


def test_the_zoo_by_name() -> None:
    reference = parse("SpineNet-49")
    assert reference.kind == "zoo"
    assert reference.genome().key == zoo.genome("spinenet-49").key
    assert reference.weights is None


def test_a_genome_file(tmp_path: Path, genomes: list[Genome]) -> None:
    path = tmp_path / "mine.json"
    path.write_text(genomes[0].to_json(), encoding="utf-8")
    assert parse(str(path)).genome() == genomes[0]


def test_best_and_numbered_trial_of_a_search(tmp_path: Path, genomes: list[Genome]) -> None:
    rows = [row(1, genomes[0], 0.2), row(2, genomes[1], 0.4), row(3, genomes[2], None)]
    run = searched(tmp_path / "fod", *rows)
    assert parse(str(run.path)).genome() == genomes[1]
    assert parse(f"{run.path}:1").genome() == genomes[0]
    assert parse(f"{run.path}:3").genome() == genomes[2]
    with pytest.raises(RunError, match=":9: no such trial; the run has trials 1 to 3"):
        parse(f"{run.path}:9").genome()


def test_best_is_the_best_mean_of_finalists(tmp_path: Path, genomes: list[Genome]) -> None:
    lucky, steady = row(1, genomes[0], 0.9), row(2, genomes[1], 0.5)
    again = [
        row(3, genomes[0], 0.1, phase="finalist", repeat=1),
        row(4, genomes[1], 0.5, phase="finalist", repeat=1),
    ]
    run = searched(tmp_path / "fod", lucky, steady, *again)
    assert parse(str(run.path)).genome() == genomes[1]


def test_a_written_winner_comes_first(tmp_path: Path, genomes: list[Genome]) -> None:
    run = searched(tmp_path / "fod", row(1, genomes[0], 0.2))
    run.genome.write_text(genomes[2].to_json(), encoding="utf-8")
    assert parse(str(run.path)).genome() == genomes[2]


def test_a_checkpoint_knows_its_genome(tmp_path: Path, genomes: list[Genome]) -> None:
    path = tmp_path / "model.safetensors"
    header = json.dumps({"genome": json.loads(genomes[0].to_json())})
    save_file({"w": np.zeros(2)}, path, metadata={"nas": header})
    reference = parse(str(path))
    assert reference.genome() == genomes[0]
    assert reference.weights == path


def test_a_training_gives_its_model(tmp_path: Path) -> None:
    run = Run.make(tmp_path / "s49")
    run.config.write_text("job: train\n", encoding="utf-8")
    assert parse(str(run.path)).weights is None
    run.weights.write_bytes(b"")
    assert parse(str(run.path)).weights == run.weights


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spinenet-94", "spinenet-94: no zoo name, file or run; did you mean spinenet-9?6?"),
        ("resnet", "the zoo has spinenet-49s, spinenet-49"),
        ("folder", "folder: holds no run; did you mean fod?"),
        ("fd:3", "fd: there is no such run; did you mean fod?"),
        ("./fo", "there is no such file or run; did you mean fod?"),
        ("none.json", "none.json: there is no such file"),
        ("notes.txt", "notes.txt: neither a genome"),
        ("bad.json", "bad.json: "),
        ("bad.safetensors", "bad.safetensors: not a trained model"),
        ("foreign.safetensors", "foreign.safetensors: not a trained model"),
        ("damaged", "trials.sqlite: this is no store"),
        ("empty", "empty: no trial has a score yet"),
    ],
)
def test_wrong_references_cost_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    searched(Path("fod"))
    searched(Path("empty"))
    Path("folder").mkdir()
    Path("damaged").mkdir()
    Path("damaged/trials.sqlite").write_bytes(b"x" * 5000)
    for name in ("notes.txt", "bad.json", "bad.safetensors"):
        Path(name).write_text("{}", encoding="utf-8")
    save_file({"w": np.zeros(2)}, "foreign.safetensors")
    with pytest.raises(NasError, match=message) as refusal:
        parse(text).genome()
    assert "\n" not in str(refusal.value)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds thesis\.tex and is no run"):
        Run.make(tmp_path)
    with pytest.raises(RunError, match="no run can be kept here"):
        Run.make(tmp_path / "thesis.tex" / "run")


def test_a_run_is_made_and_taken_up(tmp_path: Path) -> None:
    run = Run.make(tmp_path / "a" / "b")
    run.config.write_text("job: search\n", encoding="utf-8")
    assert Run.make(run.path) == Run.open(run.path) == run


def test_unused_names_count_up(tmp_path: Path) -> None:
    assert runs.unused("fod", tmp_path).name == "fod-1"
    (tmp_path / "fod-1").mkdir()
    assert runs.unused("fod", tmp_path).name == "fod-2"


def test_environment_is_kept_per_start(tmp_path: Path) -> None:
    run = Run.make(tmp_path / "run")
    assert run.record_environment() == []
    assert run.record_environment() == []
    entries = json.loads(run.environment.read_text())
    assert len(entries) == 2
    assert entries[0]["versions"]["numpy"] == np.__version__
    entries[-1]["versions"]["torch"] = "0.1"
    run.environment.write_text(json.dumps(entries), encoding="utf-8")
    (change,) = run.record_environment()
    assert change.startswith("torch 0.1 → ")


def test_damaged_environment(tmp_path: Path) -> None:
    run = Run.make(tmp_path / "run")
    run.environment.write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"env\.json: damaged"):
        run.record_environment()
