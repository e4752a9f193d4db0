"""A run's truth: one SQLite file with a row per trial and the settings that may not change.

The driver is the only writer. In WAL mode readers (`nas top`, a report) never wait for it, and a
row that was committed survives the death of the process.
"""

from __future__ import annotations

import json
import math
import operator
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import BaseFileLock
from pydantic_core import to_json

from nas.changes import change
from nas.errors import RunError, one_line
from nas.files import lock
from nas.study.failures import Failure, FailureKind
from nas.study.trial import Record, Status

SCHEMA_VERSION = 1
FILE_NAME = "trials.sqlite"

_COLUMNS: Mapping[str, str] = {
    "number": "INTEGER PRIMARY KEY",
    "arm": "TEXT NOT NULL",
    "source": "TEXT NOT NULL",
    "phase": "TEXT NOT NULL",
    "code": "TEXT NOT NULL",
    "key": "TEXT NOT NULL",
    "candidate": "TEXT NOT NULL",
    "seed": "INTEGER NOT NULL",
    "repeat": "INTEGER NOT NULL",
    "length": "INTEGER NOT NULL",
    "status": "TEXT NOT NULL",
    "attempts": "INTEGER NOT NULL",
    "retried": "TEXT NOT NULL",
    "ask_seq": "INTEGER NOT NULL",
    "tell_seq": "INTEGER",
    "charged": "INTEGER NOT NULL",
    "cached_from": "INTEGER",
    "costs": "TEXT NOT NULL",
    "metrics": "TEXT NOT NULL",
    "curve": "TEXT NOT NULL",
    "reward": "REAL",
    "excess": "REAL NOT NULL",
    "failure_kind": "TEXT",
    "failure_message": "TEXT",
    "seconds": "REAL NOT NULL",
    "clock": "REAL NOT NULL",
    "numerics": "TEXT NOT NULL",
    "versions": "TEXT NOT NULL",
}
_PROPOSED = ("number", "arm", "source", "phase", "code", "key", "candidate", "seed")
_LATER = tuple(name for name in _COLUMNS if name not in _PROPOSED)
_INSERT = (
    f"INSERT INTO trials ({', '.join(_PROPOSED + _LATER)}) "
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_UPDATE = f"UPDATE trials SET {', '.join(f'{name}=?' for name in _LATER)} WHERE number=?"
_pick_proposed, _pick_later = operator.itemgetter(*_PROPOSED), operator.itemgetter(*_LATER)


class Store:
    """The rows and settings of one run.

    Example:
        >>> with Store.open(Path("runs/fod/trials.sqlite")) as store:
        ...     rows = store.records()
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None, file_lock: BaseFileLock | None
    ) -> None:
        self.path = path
        self._connection = connection
        self._lock = file_lock

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Opens a run's file for its one writer, and makes it if there is none.

        Args:
            path: the file; None keeps the run in memory.

        Raises:
            RunError: if it is no store, has another schema, or another process writes to it.
        """
        if path is None:
            store = cls(sqlite3.connect(":memory:", isolation_level=None), None, None)
            store._create()
            return store
        path.parent.mkdir(parents=True, exist_ok=True)
        file_lock = _locked(path)
        try:
            connection = sqlite3.connect(path, isolation_level=None)
            store = cls(connection, path, file_lock)
            with _readable(path, connection):
                # Before anything is written: a foreign file stays as it is.
                empty = not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
                if not empty:
                    store._check_schema()
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                if empty:
                    store._create()
        except BaseException:
            file_lock.release()
            raise
        return store

    @classmethod
    def open_readonly(cls, path: Path) -> Self:
        """Opens a file, perhaps from elsewhere, that is never written and whose schema can't act.

        Raises:
            RunError: if it doesn't exist, is no store, or has another schema.
        """
        if not path.is_file():
            raise RunError(f"{path}: there is no such run; name a folder that a search has written")
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        store = cls(connection, path, None)
        with _readable(path, connection):
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA query_only=ON")
            store._check_schema()
        return store

    def close(self) -> None:
        """Closes the file and lets another process write to it."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the run was started with; empty for a new one.

        Raises:
            RunError: if they can't be read.
        """
        query = "SELECT value FROM meta WHERE name='settings'"
        try:
            row = self._connection.execute(query).fetchone()
            settings = json.loads(row[0]) if row else {}
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise RunError(f"{self.path}: its settings can't be read ({_reason(error)})") from None
        if not isinstance(settings, dict):
            raise RunError(f"{self.path}: its settings can't be read (they are no table)")
        return settings

    @property
    def is_empty(self) -> bool:
        """Whether no row was written yet."""
        return self._connection.execute("SELECT 1 FROM trials LIMIT 1").fetchone() is None

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Keeps a new run's settings, or compares those of a run that goes on.

        Raises:
            RunError: if a setting differs, naming what changed.
        """
        settings = plain(settings)
        kept = self.settings
        if not kept:
            row = (json.dumps(settings, sort_keys=True),)
            with _writing(self.path):
                self._connection.execute("INSERT INTO meta VALUES ('settings', ?)", row)
        elif changed := change(kept, settings):
            raise RunError(f"{self.path}: {changed}; restore it, or start a new run")

    def write(self, *records: Record) -> None:
        """Writes rows, new or changed, in one durable transaction."""
        rows = [(record, _later(record)) for record in records]
        with _writing(self.path):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                for record, later in rows:
                    # An interrupted call may have come as far as to write a row.
                    if not self._connection.execute(_UPDATE, (*later, record.number)).rowcount:
                        self._connection.execute(_INSERT, _proposed(record) + later)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def records(self, decode: Callable[[Any], Any] | None = None) -> list[Record]:
        """Returns all rows by number; with `decode` (a space's) they know their candidates."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM trials ORDER BY number"
        try:
            rows = self._connection.execute(query).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise RunError(f"{self.path}: can't be read ({_reason(error)})") from None
        records = []
        for row in rows:
            try:
                records.append(_from_row(row, decode))
            except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
                raise RunError(
                    f"{self.path}: trial {row[0]} is damaged ({one_line(error, 120)})"
                ) from None
        return records

    def export_jsonl(self, path: Path) -> int:
        """Writes one JSON object per row; returns how many."""
        with path.open("w", encoding="utf-8") as file:
            written = [file.write(_line(row)) for row in self._rows_as_dicts()]
        return len(written)

    def _rows_as_dicts(self) -> Iterator[dict[str, Any]]:
        listed = ("code", "candidate", "retried", "costs", "metrics", "curve", "versions")
        query = f"SELECT {', '.join(_COLUMNS)} FROM trials ORDER BY number"
        for row in self._connection.execute(query):
            values = dict(zip(_COLUMNS, row, strict=True))
            yield {k: json.loads(v) if k in listed else v for k, v in values.items()}

    def _create(self) -> None:
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        self._connection.executescript(
            "BEGIN; CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
            f"CREATE TABLE trials ({columns});"
            f"INSERT INTO meta VALUES ('schema', '{SCHEMA_VERSION}'); COMMIT;"
        )

    def _check_schema(self) -> None:
        row = self._connection.execute("SELECT value FROM meta WHERE name='schema'").fetchone()
        if row is None or row[0] != str(SCHEMA_VERSION):
            raise RunError(
                f"{self.path}: the store has schema {row[0] if row else 'none'}, this version "
                f"reads schema {SCHEMA_VERSION}; use the version that wrote it"
            )


class _readable:
    """Turns SQLite's complaints about a file into one line, and closes the connection then."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            return
        self._connection.close()
        # Where the schema is damaged, Python can't decode SQLite's own message.
        if isinstance(error, sqlite3.Error | UnicodeDecodeError):
            code = getattr(error, "sqlite_errorname", "")
            if code.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
                raise RunError(
                    f"{self._path}: the store can't be opened ({error}); make room on the disk, "
                    "or choose one that this user may write to"
                ) from error
            raise RunError(f"{self._path}: this is no store of a run ({_reason(error)})") from error


@contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    """Turns what a disk refuses into one line."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RunError(
            f"{path}: the run could not be written ({error}); make room on the disk, then resume"
        ) from error


def _locked(path: Path) -> BaseFileLock:
    try:
        return lock(path.with_name(path.name + ".lock"))
    except TimeoutError as error:
        raise RunError(
            f"{path}: another process is running this search; stop it first, or name another run"
        ) from error


def find(run: Path) -> Path:
    """Returns the store's path of a run: the file itself, or the one in a run's folder."""
    return run if run.suffix in {".sqlite", ".db"} else run / FILE_NAME


def _reason(error: Exception) -> str:
    """Returns an error in one line of ASCII: SQLite's may hold the text that it can't decode."""
    return ascii(one_line(error, 120))[1:-1]


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings as a store keeps them: with JSON's types alone."""
    kept: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return kept


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True) + "\n"


def _to_json(value: Any) -> str:
    """Returns a value as JSON, which has no NaN: numbers that are not finite become null."""
    return to_json(value, inf_nan_mode="null").decode()


def _metrics(value: Mapping[str, float | None]) -> dict[str, float]:
    return {k: math.nan if v is None else v for k, v in value.items()}


def _proposed(record: Record) -> tuple[Any, ...]:
    """Returns the values of the columns that a row is written with once."""
    own = vars(record) | {"code": _to_json(record.code), "candidate": record.candidate_json}
    return _pick_proposed(own)


def _later(record: Record) -> tuple[Any, ...]:
    """Returns the values of the columns that change while a row is asked, run and told."""
    failure = record.failure
    own = vars(record) | {
        "status": record.status.value,
        "retried": _to_json(record.retried),
        "charged": int(record.charged),
        "costs": _to_json(record.costs),
        "metrics": _to_json(record.metrics),
        "curve": _to_json(record.curve),
        "failure_kind": failure.kind.value if failure else None,
        "failure_message": failure.message if failure else None,
        "versions": _to_json(record.versions),
    }
    return _pick_later(own)


_TYPES: Mapping[str, tuple[type, ...]] = {"INTEGER": (int,), "REAL": (int, float), "TEXT": (str,)}
_WORDS = {"arm": ("controller", "control"), "phase": ("search", "finalist", "earlier")}


_TABLES: dict[str, type | tuple[type, ...]] = {
    "metrics": (int, float, type(None)),  # None: not a finite number
    "costs": (int, float),
    "versions": str,
}


def _check_table(name: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{name} is no table")
    for key, value in table.items():
        if not isinstance(value, _TABLES[name]):
            raise ValueError(f"{name} has {ascii(value)[:60]} as {ascii(key)[:60]}")


def _check_types(values: Mapping[str, Any]) -> None:
    """Refuses what SQLite keeps and a run never writes: its columns take values of any type.

    Raises:
        ValueError: names the column and what it holds.
    """
    for name, kind in _COLUMNS.items():
        value, optional = values[name], not ("NOT NULL" in kind or "PRIMARY" in kind)
        if not (isinstance(value, _TYPES[kind.split()[0]]) or (optional and value is None)):
            raise ValueError(f"{name} is {ascii(value)[:60]}")
        if value not in _WORDS.get(name, (value,)):
            raise ValueError(f"{name} is {ascii(value)[:60]}")
        if name in _TABLES:
            _check_table(name, json.loads(str(value)))


def _from_row(row: Iterable[Any], decode: Callable[[Any], Any] | None) -> Record:
    values = dict(zip(_COLUMNS, row, strict=True))
    _check_types(values)
    kind, message = values.pop("failure_kind"), values.pop("failure_message")
    text = values.pop("candidate")
    return Record(
        **values
        | {
            "code": tuple(json.loads(values["code"])),
            "status": Status(values["status"]),
            "retried": tuple(FailureKind(kind) for kind in json.loads(values["retried"])),
            "charged": bool(values["charged"]),
            "costs": _metrics(json.loads(values["costs"])),
            "metrics": _metrics(json.loads(values["metrics"])),
            "curve": tuple(_metrics(rung) for rung in json.loads(values["curve"])),
            "failure": Failure(FailureKind(kind), message) if kind else None,
            "versions": json.loads(values["versions"]),
            "decode": decode,
            "kept_json": text if decode is None else None,
        }
    )
