"""From a file, or a name, and the options of the command line to a config; and back to YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from nas import yamlfile
from nas.config.overrides import Override, origin_of, setting_line
from nas.config.refusals import explain
from nas.config.schema import Config, SearchConfig, TrainConfig
from nas.errors import ConfigError
from nas.validation import hint

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
"""The configs that come with this package, each known by its name."""

_C = TypeVar("_C", SearchConfig, TrainConfig)
_JOBS = ("search", "train")


def load_search(source: str | None, overrides: Sequence[Override] = ()) -> SearchConfig:
    """Returns the config of a search: a file's, or the defaults, with `overrides` on top.

    Args:
        source: a path, or a name as `find` knows it; None for the defaults.
        overrides: settings on top of it; later ones win.

    Raises:
        ConfigError: in one line that names the file or option and the setting.
    """
    return _load(SearchConfig, source, overrides)


def load_train(source: str | None, overrides: Sequence[Override] = ()) -> TrainConfig:
    """Returns the config of a training; otherwise as `load_search`."""
    return _load(TrainConfig, source, overrides)


def load_run(path: Path, overrides: Sequence[Override] = ()) -> Config:
    """Returns the resolved config that a run has kept, of either kind.

    Its data may have moved since: `check_data_dir` is for whoever is about to use them.

    Args:
        path: the run's `config.yaml`.
        overrides: settings on top of it; later ones win.

    Raises:
        ConfigError: in one line that names the file or option and the setting.
    """
    tree = yamlfile.read_table(path)
    kind = tree.get("job")
    if kind not in _JOBS:
        raise ConfigError(f"{path}: job is {kind!r}; it should be search or train")
    if kind == "search":
        return _build(SearchConfig, tree, str(path), overrides)
    return _build(TrainConfig, tree, str(path), overrides)


def check_data_dir(config: Config, source: str, overrides: Sequence[Override] = ()) -> None:
    """Refuses a data folder that isn't there.

    Args:
        config: of either kind.
        source: the file that the config was read from.
        overrides: the options on top of it.

    Raises:
        ConfigError: in one line that names the file or option.
    """
    if config.data_dir is not None and not config.data_dir.is_dir():
        origin = origin_of("data_dir", source, overrides)
        remedy = "; name it with --data DIR" if origin == source else ""
        raise ConfigError(f"{origin}: there is no folder {config.data_dir}{remedy}")


def to_yaml(config: Config) -> str:
    """Returns the whole config, every setting written out, as `load_run` reads it."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def find(source: str) -> Path:
    """Returns the file that a path means, or a name.

    Names are those of `nas/experiments/`, which comes with this package, and of a folder
    `experiments/` here. Both may be written as `experiments/NAME.yaml`.

    Raises:
        ConfigError: there is none, or two of that name; names the nearest.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    own = Path(EXPERIMENTS.name)
    packaged, local = (
        {file.stem: file for file in sorted(folder.glob("*.yaml"))} for folder in (EXPERIMENTS, own)
    )
    name = path.stem if path == own / f"{path.stem}.yaml" else source
    configs = packaged | local
    if name in packaged and name in local:
        raise ConfigError(
            f"{source}: a config of this name comes with nas, and {local[name]} is another; "
            f"write {local[name]}, or give your file another name"
        )
    if name in configs:
        return configs[name]
    near = hint(path.stem, sorted(configs))
    raise ConfigError(f"{source}: no such file, and no name in {own}/{near}")


def _load(kind: type[_C], source: str | None, overrides: Sequence[Override]) -> _C:
    path = None if source is None else find(source)
    tree = {} if path is None else yamlfile.read_table(path)
    own = kind.model_fields["job"].default
    job = tree.get("job", own)
    if job != own and job in _JOBS:
        raise ConfigError(f"{path}: its job is {job}; type nas {job} {source}")
    config = _build(kind, tree, str(path or "defaults"), overrides)
    check_data_dir(config, str(path or "defaults"), overrides)
    return config


def _build(kind: type[_C], tree: dict[str, Any], source: str, overrides: Sequence[Override]) -> _C:
    for override in overrides:
        override.apply(tree)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        where, message = explain(error, kind)
        raise ConfigError(
            f"{origin_of(where, source, overrides)}: {setting_line(message)}"
        ) from None
    except ConfigError as error:  # a recipe's: its first word is the setting, as `recipe.lr`
        where = ("proxy." if kind is SearchConfig else "") + re.split(r"[: ]", str(error))[0]
        message = setting_line(str(error))
        raise ConfigError(f"{origin_of(where, source, overrides)}: {message}") from None
