"""Files of the same content under several names."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.data import duplicates
from nas.data.duplicates import identical_files


def written(folder: Path, *contents: bytes) -> list[Path]:
    paths = [folder / f"{number}.bin" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def test_content_decides(tmp_path: Path) -> None:
    head = bytes(5000)
    paths = written(tmp_path, b"a", b"b", b"a", head + b"x", head + b"y", head + b"x", b"")
    (tmp_path / "link.bin").symlink_to(paths[1])
    paths += [paths[4], tmp_path / "link.bin", tmp_path / "gone", tmp_path / "gone as well"]
    assert identical_files(paths).tolist() == [0, 1, 0, 3, 4, 3, 6, 4, 1, 9, 10]
    assert identical_files([]).tolist() == []


def test_files_of_different_lengths_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path, b"a", b"bb", b"ccc")
    monkeypatch.setattr(duplicates, "_head", lambda _: pytest.fail("read"))
    assert identical_files(paths).tolist() == [0, 1, 2]
