"""A path at which the result couldn't be written is refused before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.cli.main import main

FOLDERS = {
    "show": "show spinenet-49 --out {out}",
    "report": "report searched --out {out}",
    "eval": "eval nobody --out {out}",
    "predict": "predict nobody a.png --out {out}",
    "export": "export nobody --out {out}",
    "data show": "data show nowhere --out {out}",
    "device pack": "device pack {out}",
    "search": "search --run {out}",
    "train": "train --genome nobody --run {out}",
}
FILES = {
    "device measure": "device measure --out {out}",
    "device add": "device add times.json --out {out}",
}
BAD = {
    "a file as parent": ("file/out", "file is no folder"),
    "below a device": ("/dev/null/x", "/dev/null is no folder"),
    "where the system takes nothing": ("/proc/x", ""),
    "too long a name": (f"new/{'x' * 300}", "File name too long"),
    "a link to nothing": ("link/out", "link is no folder"),
}
"""Such as root is refused, too."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    Path("file").touch()
    Path("times.json").touch()
    Path("link").symlink_to("nothing")
    Path("folder").mkdir()
    Path("searched").mkdir()
    Path("searched/config.yaml").write_text("job: search\n", encoding="utf-8")
    return tmp_path


def refusal(words: str, out: str, capfd: pytest.CaptureFixture[str]) -> str:
    before = sorted(Path().rglob("*"))
    assert main(words.format(out=out).split()) == 2
    assert sorted(Path().rglob("*")) == before
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("verb", [*FOLDERS, *FILES])
def test_a_path_that_takes_nothing(verb: str, bad: str, capfd: pytest.CaptureFixture[str]) -> None:
    out, reason = BAD[bad]
    error = refusal({**FOLDERS, **FILES}[verb], out, capfd)
    assert error.startswith(f"nas: {out}: can't be written ({reason}")
    option = {"device pack": "OUT_DIR", "search": "--run", "train": "--run"}.get(verb, "--out")
    assert error.endswith(f"; name another {option}\n")


@pytest.mark.parametrize("verb", FOLDERS)
def test_a_file_is_no_folder(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    error = refusal(FOLDERS[verb], "file", capfd)
    assert error.startswith("nas: file: ")


@pytest.mark.parametrize("verb", FILES)
@pytest.mark.parametrize(
    ("out", "reason"),
    [("folder", "folder is a folder"), ("/dev/null", "/dev/null is no ordinary file")],
)
def test_what_is_no_file_is_not_replaced(
    verb: str, out: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert reason in refusal(FILES[verb], out, capfd)
    assert Path("/dev/null").is_char_device()


def test_a_table_never_replaces_what_it_is_made_of(capfd: pytest.CaptureFixture[str]) -> None:
    error = refusal("device add times.json --out {out}", "./times.json", capfd)
    assert "is one of the files to read" in error


def test_numbers_never_replace_those_of_a_run(capfd: pytest.CaptureFixture[str]) -> None:
    error = refusal("eval nobody --out {out}", "searched", capfd)
    assert error.endswith("such as --out searched/eval\n")


def test_a_picture_never_stands_for_a_folder(capfd: pytest.CaptureFixture[str]) -> None:
    Path("folder/spinenet-49.svg").mkdir()
    error = refusal("show spinenet-49 --out {out}", "folder", capfd)
    assert "folder/spinenet-49.svg is a folder" in error
