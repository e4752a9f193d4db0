"""`nas device` as it is typed: a pack, its runner on a device, the table, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.cost import DeviceTable, read_table
from nas.genome import Genome
from tests.cost.test_operators import mobile

TINY = ["--set=space.name=mobile", "--set=space.deploy.input_size=96"]
TINY += ["--set=space.input_factors=[1.0]", "--set=space.variant=ibn", "--classes=4"]
FEW = ["--pieces=30", "--networks=2"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack, and beside it what its runner wrote."""
    root = tmp_path_factory.mktemp("device")
    assert main(["device", "pack", str(root / "pack"), *TINY, *FEW]) == 0
    words = [sys.executable, "pack/runner.py", "--device", "Pixel 4", "--rounds", "1"]
    subprocess.run(words, cwd=root, check=True, capture_output=True, timeout=300)
    return root


@pytest.fixture
def here(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with times.json, as the device gave it."""
    monkeypatch.chdir(tmp_path)
    Path("times.json").write_bytes((packed / "times.json").read_bytes())
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    text = capsys.readouterr().err
    assert text.startswith("nas: ") and text.count("\n") == 1, text
    return text


def edited(**changes: Any) -> None:
    document = json.loads(Path("times.json").read_text())
    Path("edited.json").write_text(json.dumps(document | changes))


# --- pack and add -----------------------------------------------------------------------------


def test_a_pack_holds_files_of_the_space(packed: Path) -> None:
    listed = json.loads((packed / "pack" / "pack.json").read_text())
    names = [piece["name"] for piece in listed["pieces"]]
    assert len(names) == 32 and sum(piece["whole"] for piece in listed["pieces"]) == 2
    assert {path.stem for path in (packed / "pack" / "models").iterdir()} == set(names)
    kinds = {text.split(" ")[0] for piece in listed["pieces"] for text in piece["operators"]}
    assert {"conv", "depthwise", "add", "join", "mean", "gate", "normalize"} <= kinds


def test_a_table_gives_latency_to_profile_and_to_a_search(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["device", "add", "times.json", "--out", "pixel4.json"]) == 0
    shown = capsys.readouterr().out
    assert "Pixel 4 (onnxruntime" in shown and "30 pieces, 2 networks" in shown
    assert "networks left out of the fit are told within" in shown and "pixel4.json" in shown
    table = read_table(Path("pixel4.json"))
    assert isinstance(table, DeviceTable) and table.device == "Pixel 4"
    words = ["search", "--dry-run", *TINY[:-1], "--set=costs.latency_table=pixel4.json"]
    assert main([*words, "--limit=latency_ms=1000"]) == 0
    assert "latency_ms" in capsys.readouterr().out
    genome = drawn()
    Path("g.json").write_text(genome.to_json())
    assert main(["profile", "g.json", "--classes=4", "--latency=pixel4.json"]) == 0
    told = f"{table.time_ms(genome, 4):.2f} ms by the table of Pixel 4"
    assert told in " ".join(capsys.readouterr().out.split())


def drawn() -> Genome:
    import random

    from search_spaces.mobile.space import MobileSpace

    space = MobileSpace(variant="ibn", input_factors=(1.0,), deploy={"input_size": 96})
    return space.sample(random.Random(5))


def test_times_are_added_to_the_table_of_the_same_device(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(Path("times.json").read_text())
    Path("half.json").write_text(json.dumps(document | {"pieces": document["pieces"][:16]}))
    assert main(["device", "add", "half.json", "--out", "t.json"]) == 0
    assert len(table("t.json").measured) == 16
    assert main(["device", "add", "half.json", "times.json", "--out", "t.json"]) == 0
    assert len(table("t.json").measured) == 32
    edited(device="Pixel 9")
    assert main(["device", "add", "edited.json", "--out", "t.json"]) == 2
    assert "device of these times is 'Pixel 9', and of the table 'Pixel 4'" in said(capsys)
    edited(runtime="onnxruntime 9.9.9")
    assert main(["device", "add", "edited.json", "--out", "t.json"]) == 2
    assert "runtime of these times is 'onnxruntime 9.9.9'" in said(capsys)
    assert len(table("t.json").measured) == 32


def table(name: str) -> DeviceTable:
    found = read_table(Path(name))
    assert isinstance(found, DeviceTable)
    return found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "it is of version '2', this toolkit reads 1"),
        ({"pieces": []}, "it holds none"),
        ({"threads": 0}, "threads: "),
    ],
)
def test_bad_times_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], named: str
) -> None:
    edited(**changes)
    assert main(["device", "add", "edited.json", "--out", "t.json"]) == 2
    assert named in said(capsys) and not Path("t.json").exists()


def test_tables_by_hand_and_folders_in_use_are_left_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = {"device": "Pixel 4", "runtime": "r", "threads": 1, "precision": "float32"}
    hand = {"version": 2, **conditions, "overhead_ms": 0, "families": {"relu": {"ms": {}}}}
    Path("hand.json").write_text(json.dumps(hand))
    assert main(["device", "add", "times.json", "--out", "hand.json"]) == 2
    assert "written by hand" in said(capsys) and json.loads(Path("hand.json").read_text()) == hand
    assert main(["device", "pack", ".", *TINY]) == 2
    assert "there is something already" in said(capsys)
    assert main(["device", "add", "gone.json"]) == 2
    assert "gone.json: no times of a device" in said(capsys)


# --- measure ----------------------------------------------------------------------------------


def test_this_machine_is_measured(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("g.json").write_text(mobile().to_json())
    words = ["device", "measure", "--genome=g.json", "--classes=4", "--rounds=2", "--out=me.json"]
    assert main(words) == 0
    found = table("me.json")
    assert found.threads == 1 and found.runtime.startswith("onnxruntime ")
    assert found.protocol.rounds == 2 and found.accuracy.networks == 1
    whole = found.measured[-1]
    assert whole.whole and found.time_ms(mobile(), 4) == pytest.approx(whole.ms, rel=0.5)
    capsys.readouterr()
    assert main([*words, "--threads=2"]) == 2
    assert "threads of these times is 2, and of the table 1" in said(capsys)


def test_a_runner_that_fails_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nas.jobs.device.measure.RUNNER", "gone.py")
    Path("g.json").write_text(mobile().to_json())
    assert main(["device", "measure", "--genome=g.json", "--out=me.json"]) == 2
    assert said(capsys) == "nas: the runner ended with 2; nothing was measured\n"
    assert not Path("me.json").exists()


@pytest.mark.parametrize("verb", ["measure", "pack", "add"])
def test_the_help_states_the_protocol(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", verb, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"nas device {verb}" in shown
    if verb == "measure":
        for word in ("float32", "warm up", "median", "95th percentile", "NMS", "one picture"):
            assert word in shown
