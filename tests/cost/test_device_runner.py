"""The runner as a device gets it: one file, what it times, and what is made of what it wrote."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from nas.cost.latency import runner
from nas.cost.latency.pack import write_pack
from nas.cost.latency.results import DeviceTimes, make_table
from nas.cost.latency.sampling import NetworkSample, design
from nas.cost.latency.table import DeviceTable
from nas.errors import ConfigError
from tests.cost.test_operators import mobile


@pytest.fixture(scope="module")
def pieces() -> list[NetworkSample]:
    return design([mobile()], [mobile("relu6")], 24, num_classes=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pieces: list[NetworkSample]) -> Path:
    path = tmp_path_factory.mktemp("pack")
    write_pack(pieces, path)
    return path


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "times.json"
    words = ["--device", "here", "--pack", str(folder), "--out", str(out), "--rounds", "2"]
    assert runner.main(words) == 0
    return out


# --- the runner -------------------------------------------------------------------------------


def test_it_needs_nothing_of_this_toolkit_and_an_old_python() -> None:
    tree = ast.parse(Path(runner.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [one.name for one in node.names]
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_a_pack_is_small_and_has_the_runner(folder: Path, pieces: list[NetworkSample]) -> None:
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"runner.py", "pack.json", *(f"{piece.name}.onnx" for piece in pieces)}
    assert (folder / "runner.py").read_bytes() == Path(runner.__file__).read_bytes()
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 40_000 * len(pieces)


def test_all_pieces_are_timed_in_every_round(written: Path, pieces: list[NetworkSample]) -> None:
    told = DeviceTimes.read(written)
    assert (told.device, told.threads, told.precision) == ("here", 1, "float32")
    assert told.runtime == f"onnxruntime {onnxruntime.__version__}" and told.rounds == 2
    assert [piece.name for piece in told.pieces] == [piece.name for piece in pieces]
    for timing, piece in zip(told.pieces, pieces, strict=True):
        assert len(timing.ms) == 2 and timing.whole == piece.whole
        assert timing.operators == {one.text: n for one, n in piece.operators.items()}
        assert timing.p95_ms > 0


def scripted(monkeypatch: pytest.MonkeyPatch, runs: list[tuple[float, float]]) -> list[float]:
    """Puts times, and shares of the processor, in the place of runs; returns those that ran."""
    ran: list[float] = []

    def run(session: Any, feed: Any) -> tuple[float, float]:
        ran.append(runs[min(len(ran), len(runs) - 1)][0])
        return runs[min(len(ran) - 1, len(runs) - 1)]

    monkeypatch.setattr(runner, "_run", run)
    monkeypatch.setattr(
        runner, "_session", lambda path, threads: type("S", (), {"get_inputs": list})()
    )
    return ran


def test_runs_that_waited_for_the_processor_are_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    warm, waited, good = (9.0, 1.0), (30.0, 0.3), (8.0, 0.99)
    scripted(monkeypatch, [warm, warm, waited, good, waited, good, good])
    assert runner.time_model("x", threads=1) == runner.Round([8.0, 8.0, 8.0], disturbed=2)
    scripted(monkeypatch, [warm, warm, waited, good, good])  # several threads: can't be told
    assert runner.time_model("x", threads=2) == runner.Round([30.0, 8.0, 8.0], disturbed=0)
    ran = scripted(monkeypatch, [warm, warm, waited])
    assert runner.time_model("x", threads=1) == runner.Round([30.0] * 30, disturbed=30)
    assert len(ran) == 32


def test_short_pieces_run_often_and_long_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = scripted(monkeypatch, [(1.5, 1.0)])
    assert len(runner.time_model("x", 1).runs) == 14 and len(ran) == 2 + 14  # 20 ms of runs
    ran = scripted(monkeypatch, [(0.1, 0.1)])
    assert runner.time_model("x", 1) == runner.Round([0.1] * 30, disturbed=0)
    ran = scripted(monkeypatch, [(2000.0, 1.0)])
    assert runner.time_model("x", 1).runs == [2000.0] and len(ran) == 2


def test_what_the_device_cannot_run_is_left_out(
    pieces: list[NetworkSample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pack(pieces[:3], tmp_path)
    (tmp_path / "models" / f"{pieces[1].name}.onnx").write_bytes(b"\x08\x08broken")
    out = tmp_path / "times.json"
    words = ["--device", "d", "--pack", str(tmp_path), "--out", str(out), "--rounds", "1"]
    assert runner.main(words) == 0
    assert f"not timed: {pieces[1].name}" in capsys.readouterr().err
    assert [one["name"] for one in json.loads(out.read_text())["pieces"]] == [
        pieces[0].name,
        pieces[2].name,
    ]
    for path in (tmp_path / "models").glob("*"):
        path.unlink()
    assert runner.main(words) == 2
    with pytest.raises(ConfigError, match="it holds none; run the pack's runner"):
        DeviceTimes.read(out)
    (tmp_path / "pack.json").write_text('{"version": 7, "pieces": []}')
    assert runner.main(words) == 2 and "version 7" in capsys.readouterr().out


# --- the table --------------------------------------------------------------------------------


def test_a_table_is_made_and_added_to(written: Path) -> None:
    told = DeviceTimes.read(written)
    table = make_table(told)
    assert DeviceTable.model_validate_json(table.model_dump_json(), strict=True) == table
    assert table.accuracy.networks == 1 and table.accuracy.pieces == len(told.pieces) - 1
    assert table.time_ms(mobile(), 5) > 0
    assert table.measured[0].ms == pytest.approx(sum(told.pieces[0].ms) / 2)
    faster = tuple(piece.model_copy(update={"ms": (0.25,)}) for piece in told.pieces[:4])
    again = make_table(told.model_copy(update={"pieces": faster}), table)
    assert len(again.measured) == len(table.measured)  # timed again, they replace what was there
    assert sorted(one.ms for one in again.measured).count(0.25) == 4
    dearer = table.model_copy(update={"overhead_ms": 2.5})
    assert make_table(told, dearer).overhead_ms == 2.5  # set by hand, it stays


@pytest.mark.parametrize(
    ("field", "value"),
    [("device", "Pixel 9"), ("runtime", "onnxruntime 1.2"), ("threads", 4), ("precision", "int8")],
)
def test_times_of_another_device_are_refused(written: Path, field: str, value: Any) -> None:
    told = DeviceTimes.read(written)
    other = told.model_copy(update={field: value})
    with pytest.raises(
        ConfigError, match=f"^{field} of these times is {value!r}, and of the table"
    ):
        make_table(other, make_table(told))


def test_too_few_times_make_no_table(written: Path) -> None:
    told = DeviceTimes.read(written)
    with pytest.raises(ConfigError, match="3 pieces were timed on here; a table needs 8"):
        make_table(told.model_copy(update={"pieces": told.pieces[:3]}))


def test_kinds_without_end_make_no_table(written: Path) -> None:
    told = DeviceTimes.read(written)
    kinds = (f"conv k{k} s{s} 8@8 > 8@8" for k in range(1, 20) for s in range(1, 12))
    many = told.pieces[0].model_copy(update={"operators": dict.fromkeys(kinds, 1)})
    with pytest.raises(ConfigError, match="kinds of operators were timed on here; a table has 200"):
        make_table(told.model_copy(update={"pieces": (*told.pieces, many)}))


ONE = {"name": "a", "whole": False, "operators": {"relu 8@8 > 8@8": 1}, "ms": [1.0], "p95_ms": 1.0}


def changed(piece: dict[str, Any] | None = None, **changes: Any) -> str:
    document = {
        **{"format": "spinenas device times", "version": 1, "device": "d", "runtime": "r"},
        **{"threads": 1, "precision": "float32", "rounds": 1, "warm_up": 2, "load_before": 0.5},
        **{"disturbed": 0.0, "minutes": 1.0, "pieces": [ONE | (piece or {})]},
    }
    return json.dumps({**document, **changes})


BAD = {
    "no JSON": ("{", "Expecting property name"),
    "a list": ("[]", "document: "),
    "deep": ("[" * 100_000, "recursion"),
    "another version": (changed(version=2), "it is of version '2', this toolkit reads 1"),
    "another file": (changed(format="a table"), "format: "),
    "no pieces": (changed(pieces=[]), "it holds none"),
    "many pieces": (changed(pieces=[ONE] * 5001), "at most 5000"),
    "no device": (changed(device=""), "device: "),
    "device that steers a terminal": (changed(device="\x1b]0;x\x07"), "device: "),
    "time of 0": (changed({"ms": [0.0]}), "pieces.0.ms.0: "),
    "negative time": (changed({"ms": [1.0, -1.0]}), "(met -1.0)"),
    "time without end": (changed({"ms": [float("inf")]}), "pieces.0.ms.0: "),
    "no number": (changed({"ms": [float("nan")]}), "pieces.0.ms.0: "),
    "no rounds": (changed({"ms": []}), "pieces.0.ms: "),
    "many rounds": (changed({"ms": [1.0] * 1001}), "pieces.0.ms: "),
    "time in words": (changed({"ms": ["1"]}), "pieces.0.ms.0: "),
    "one time alone": (changed({"ms": 1.0}), "pieces.0.ms: "),
    "no operator": (changed({"operators": {"__import__('os')": 1}}), "is no operator"),
    "path as name": (changed({"name": "../../x"}), "pieces.0.name: "),
    "unknown field": (changed(pickle="gASV"), "pickle: Extra inputs"),
    "unknown field of a piece": (changed({"code": "x"}), "pieces.0.code: Extra inputs"),
    "one key twice": ('{"version": 1, "version": 1}', "'version' stands there twice"),
    "larger than 10 MB": (" " * 10_000_001, "larger than 10 MB"),
}


@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD.keys())
def test_what_a_runner_did_not_write_is_refused(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        DeviceTimes.read(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: no times of a device: ") and said.isprintable()
    assert named in said and len(said) < 600
