"""The data that a run was begun with: a digest of each part, and where the folder is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from nas.config.loading import load_run
from nas.config.schema import Config
from nas.data.coco import Split
from nas.data.settings import DataSettings
from nas.errors import DataError, RunError
from nas.files import write_text
from nas.runs.folder import Run


def keep_data(run: Run, config: Config, split: Split) -> None:
    """Keeps a digest of each part of the training data, or compares a run that goes on.

    To be called before `keep_config`'s result, while the run still has its own config.

    Args:
        run: the run, with its config.
        config: the settings of this start.
        split: all of `train`.

    Raises:
        RunError: the data, or how the hold-out is drawn, changed since the run began; says what.
    """
    path = run.path / "data.json"
    now = _digests(split)
    if not (run.store.is_file() or run.begun):
        write_text(path, json.dumps(now, indent=1) + "\n")
        return
    kept = load_run(run.config)
    if kept.seed != config.seed or not path.is_file():
        return  # the run itself names another seed, or that the data changed
    if config.job == "search":
        for name in ("holdout", "holdout_by", "holdout_blocks"):
            was, is_now = getattr(kept.data, name), getattr(config.data, name)
            if was != is_now:
                raise RunError(
                    f"{run.path}: data.{name} was {was} when this run began and is now {is_now}; "
                    "restore it, or start a new run"
                )
    if changed := _changed_part(path, now):
        raise RunError(
            f"{run.path}: the data changed since this run began: {changed} of {split.json_path}; "
            "restore them, or start a new run"
        )


def _digests(split: Split) -> dict[str, list[Any]]:
    """Returns a count and a digest of each part of a split, and the split's own."""
    columns: dict[str, list[Any]] = {
        "classes": [(c.id, c.name) for c in split.categories],
        "images": [
            (i.id, i.path.relative_to(split.root).as_posix(), i.width, i.height)
            for i in split.images
        ],
        "boxes": [
            (i.id, *(a.tolist() for a in (i.boxes, i.labels, i.crowd, i.areas)))
            for i in split.images
        ],
    }
    counts = {"classes": len(split.categories), "images": len(split)}
    counts["boxes"] = split.boxes + split.crowds
    parts = {
        name: [counts[name], hashlib.sha256(repr(rows).encode()).hexdigest()[:32]]
        for name, rows in columns.items()
    }
    return {**parts, "all": [len(split), split.fingerprint]}


def _changed_part(path: Path, now: dict[str, list[Any]]) -> str | None:
    """Returns the first part that differs from what was kept, with its counts."""
    try:
        before = json.loads(path.read_text())
        if before["all"] == now["all"]:
            return None
        for name in ("classes", "images", "boxes"):
            if before[name] != now[name]:
                was, is_now = before[name][0], now[name][0]
                return f"the {name}" + (f" ({was} then, {is_now} now)" if was != is_now else "")
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None  # the run itself compares its fingerprint
    return "the files of the images"


def kept_data(ref: object, *, needed: bool = False) -> tuple[Path | None, DataSettings]:
    """Returns the data folder of the run that a reference names, and its settings.

    Args:
        ref: a run's folder; anything else has no data.
        needed: refuse a folder that isn't there any more.

    Returns:
        None for the built-in scenes, or for a folder that isn't there any more; the settings.

    Raises:
        DataError: `needed`, and the folder isn't there; names the run's config.
    """
    run = Run(Path(str(ref))) if isinstance(ref, str | Path) else None
    if run is None or not run.config.is_file():
        return None, DataSettings()
    config = load_run(run.config)
    folder = config.data_dir
    if folder is None or folder.is_dir():
        return folder, config.data
    if needed:
        raise DataError(f"{run.config}: there is no folder {folder}; name it with --data DIR")
    return None, config.data
