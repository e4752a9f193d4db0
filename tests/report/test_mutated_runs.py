"""Run folders changed at random: an answer, or one line."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nas.errors import NasError, RunError
from nas.jobs.top import top
from nas.runs.folder import Run
from nas.runs.reference import parse
from nas.study.result import Result
from nas.study.store import FILE_NAME, Store

VALUES = st.sampled_from(
    ("", "x", "{}", "[]", "null", '{"ap50": "high"}', '{"ap50": NaN}', "[[1, {}]]", b"\x80\x04.")
) | st.sampled_from((None, -1, 0, 1, 7, 2**62, 0.5, 1e308, float("inf")))


def mutate(data: st.DataObject, folder: Path) -> None:
    """Does one thing: a file cut, replaced or gone destroys it; a value changes what it says."""
    what = data.draw(st.sampled_from(("value", "value", "value", "cut", "bytes", "gone", "row")))
    path = folder / FILE_NAME
    if what == "gone":
        path.unlink()
    elif what == "cut":
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)), "length")])
    elif what == "bytes":
        overwritten = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(overwritten) - 1), "at")
        overwritten[at : at + 64] = b"\xff" * len(overwritten[at : at + 64])
        path.write_bytes(overwritten)
    else:
        with sqlite3.connect(path) as connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(trials)")]
            column = data.draw(st.sampled_from(columns), "column")
            number = data.draw(st.integers(0, 5), "number")
            try:
                if what == "row":
                    connection.execute("DELETE FROM trials WHERE number = ?", (number,))
                else:
                    value = data.draw(VALUES, "value")
                    connection.execute(
                        f"UPDATE trials SET {column} = ? WHERE number = ?",
                        (value, number),
                    )
            except (sqlite3.IntegrityError, OverflowError):
                return
        connection.close()


def test_a_store_with_a_damaged_head_is_read_or_refused_in_one_line(
    run: tuple[Path, Result], tmp_path: Path
) -> None:
    whole, refused = (run[0] / FILE_NAME).read_bytes(), 0
    path = tmp_path / FILE_NAME
    for at in range(0, 4096, 17):  # the first page holds the schema, and so its text
        path.write_bytes(whole[:at] + b"\xff" * 64 + whole[at + 64 :])
        try:
            Store.open_readonly(path).close()
        except RunError as error:
            message, refused = str(error), refused + 1
            assert len(message.splitlines()) == 1, ascii(message)
    assert refused > 10


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
    database=None,
)
def test_a_changed_store_is_read_or_refused_in_one_line(
    run: tuple[Path, Result], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        shutil.copytree(run[0], folder)
        mutate(data, folder)
        for verb in (
            lambda: Run(folder).read_search(),
            lambda: top(folder),
            lambda: parse(f"{folder}:1"),
        ):
            try:
                verb()
            except NasError as error:
                message = str(error)
                assert len(message.splitlines()) == 1, ascii(message)
