"""`nas doctor`: a line for each thing it looked at, with the remedy where it is wrong."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from nas.jobs import doctor


def report() -> tuple[bool, list[str]]:
    out = io.StringIO()
    good = doctor.doctor(Console(file=out, width=200))
    return good, out.getvalue().splitlines()


def test_each_check_prints_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple(check for check in doctor.CHECKS if check is not doctor.ray)
    monkeypatch.setattr(doctor, "CHECKS", quick)
    _, lines = report()
    assert len(lines) == len(quick)
    assert lines[0].startswith("✔ Python: 3.")
    assert any(line.startswith("✔ torch: ") for line in lines)


def test_a_fault_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor.memory, doctor.python))
    monkeypatch.setattr(doctor.environment, "memory_bytes", lambda: 2**30)
    good, lines = report()
    assert not good
    assert lines[0] == "✘ memory: 1 GiB; use one worker"
    assert lines[1].startswith("✔ Python")


def test_a_check_that_breaks_is_a_fault() -> None:
    def broken() -> doctor.Finding:
        raise ImportError("no such\nlibrary")

    assert doctor.examine(broken).state == "ImportError: no such library"
    assert not doctor.examine(broken).good


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "file" / "cache"))
    finding = doctor.cache()
    assert not finding.good
    assert "SPINENAS_CACHE" in finding.remedy


@pytest.mark.slow
def test_ray_starts() -> None:
    assert doctor.examine(doctor.ray).good
