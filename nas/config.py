"""Configs: what may stand in an experiment's YAML, how it is read, and how it is refused.

`SearchConfig` and `TrainConfig` are put together from the rooms' own settings; each room is given
its section and no more. A config is resolved once, from the file and then the options of the
command line, and written whole into the run's folder.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from nas import yamlfile
from nas.controllers import ControllerSettings
from nas.cost import CostSettings
from nas.data.settings import DataSettings
from nas.errors import ConfigError, printable
from nas.executors.settings import SearchComputeSettings, TrainComputeSettings
from nas.settings import Settings
from nas.study.budget import Budget
from nas.study.objective import ObjectiveSettings
from nas.study.settings import (
    ControlSettings,
    DeliverySettings,
    FinalistSettings,
    StudySettings,
)
from nas.study.stopping import STOPPING, StopperSettings
from nas.tables import Section
from nas.training.recipes import RecipeField, resolve
from nas.validation import hint, nearest
from proxies.base import PROXY
from proxies.training import ProxySettings, ScaleSettings
from search_spaces.base import SpaceSettings
from search_spaces.registry import SPACE
from search_spaces.spinenet.space import SpineNetSpaceSettings

EXPERIMENTS = Path(__file__).with_name("experiments")
"""The configs that come with this package, each known by its name."""


class SearchConfig(Settings):
    """All that a search is made of.

    Attributes:
        budget: trials over both arms (120), or time ("8h") for them, re-evaluation and retraining.
        retrain_share: of a budget in time, what stays for retraining; 0 leaves all to the search.
        data_dir: a folder of COCO-format images; None takes the built-in scenes.
        warm_start: another search's folder, whose results a new one begins with.
        proxy: the settings of one of `proxies.base.PROXIES`, by its name.
        stopping: ends trials early that fall behind; None runs all in full.
    """

    job: Literal["search"] = "search"
    seed: int = Field(default=0, ge=0)
    budget: int | str = 40
    retrain_share: float = Field(default=0.4, ge=0.0, lt=1.0)
    data_dir: Path | None = None
    warm_start: Path | None = None
    data: DataSettings = DataSettings()
    space: Annotated[SpaceSettings, SPACE] = SpineNetSpaceSettings()
    proxy: Annotated[Any, PROXY] = ProxySettings()
    costs: CostSettings = CostSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    controller: ControllerSettings = ControllerSettings()
    control: ControlSettings = ControlSettings()
    finalists: FinalistSettings = FinalistSettings()
    stopping: Annotated[StopperSettings, STOPPING] | None = None
    study: DeliverySettings = DeliverySettings()
    compute: SearchComputeSettings = SearchComputeSettings()

    @model_validator(mode="before")
    @classmethod
    def _scaled_as_suits_the_space(cls, tree: Any) -> Any:
        if not isinstance(tree, Mapping):
            return tree
        space, proxy = SPACE.name(tree.get("space")), tree.get("proxy", {})
        defaults = SPACE.table.load(space).proxy_scale if space in SPACE.table else {}
        name = PROXY.name(proxy)
        if name not in PROXY.table or "scale" not in PROXY.settings_type(name).model_fields:
            return tree
        scale = proxy.get("scale", {}) if isinstance(proxy, Mapping) else None
        if not (defaults and isinstance(scale, Mapping)):
            return tree
        if scale.get("input_size") is not None:
            defaults = {**defaults, "input_factor": None}
        return {**tree, "proxy": {**proxy, "scale": {**defaults, **scale}}}

    @property
    def study_settings(self) -> StudySettings:
        """The settings of the study, from the sections that are its own."""
        return StudySettings(
            **dict(self.study),
            control=self.control,
            finalists=self.finalists,
            stopping=self.stopping,
            retrain_share=self.retrain_share,
        )

    @field_validator("budget")
    @classmethod
    def _is_budget(cls, value: int | str) -> int | str:
        try:
            Budget.parse(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value


class TrainConfig(Settings):
    """All that a training is made of.

    Attributes:
        genome: any reference: a zoo name, a genome's JSON, `RUN`, `RUN:17`, a checkpoint.
        scale: how it is made smaller before it is trained; by default it isn't.
        init: a checkpoint whose weights training starts from.
        data_dir: a folder of COCO-format images; None takes the built-in scenes.
        tensorboard: writes scalars and pictures for TensorBoard too, into the run's folder.
    """

    job: Literal["train"] = "train"
    seed: int = Field(default=0, ge=0)
    genome: str = "spinenet-49"
    scale: ScaleSettings = ScaleSettings()
    init: Path | None = None
    data_dir: Path | None = None
    data: DataSettings = DataSettings()
    recipe: RecipeField = resolve("short")
    tensorboard: bool = False
    compute: TrainComputeSettings = TrainComputeSettings()


Config = SearchConfig | TrainConfig
_C = TypeVar("_C", SearchConfig, TrainConfig)
_JOBS = ("search", "train")
_ELSEWHERE = {
    ("search", "compute.threads"): "; a trial's are proxy.threads",
    ("train", "compute.threads"): "; a training's are recipe.threads",
    ("train", "compute.trial_timeout"): "; a training has no trials",
    ("train", "compute.max_failures"): "; a training has no trials",
}
"""What is said of a setting that the other job, or another section, has."""
_SHORT_FORMS = {"recipe": "base"}  # `recipe: short` stands for `recipe: {base: short}`


@dataclass(frozen=True)
class Override:
    """A setting from the command line.

    Attributes:
        option: as it was typed, for messages.
        key: with dots, such as `proxy.recipe.epochs`.
        value: as YAML reads it.
    """

    option: str
    key: str
    value: Any

    @classmethod
    def parse(cls, option: str, text: str, section: str = "") -> Override:
        """Reads `key=value`.

        Example:
            >>> Override.parse("--limit", "params=30e6", section="objective.limits").key
            'objective.limits.params'

        Raises:
            ConfigError: there is no key, or the value is no YAML.
        """
        key, equals, value = text.partition("=")
        key, typed = key.strip(), _one_line(f"{option} {text}")
        if not (key and equals and all(key.split("."))):
            raise ConfigError(f"{typed}: write it as {option} key=value")
        return cls(typed, f"{section}.{key}" if section else key, yamlfile.read(value, typed))


def load_search(source: str | None, overrides: Sequence[Override] = ()) -> SearchConfig:
    """Returns the config of a search: a file's, or the defaults, with `overrides` on top.

    Args:
        source: a path, or a name as `find` knows it; None for the defaults.

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
        source: the file that the config was read from.
        overrides: the options on top of it.

    Raises:
        ConfigError: in one line that names the file or option.
    """
    if config.data_dir is not None and not config.data_dir.is_dir():
        origin = _origin("data_dir", source, overrides)
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
        _put(tree, override.key.split("."), override.value)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        where, message = _explain(error, kind)
        raise ConfigError(f"{_origin(where, source, overrides)}: {_one_line(message)}") from None
    except ConfigError as error:  # a recipe's: its first word is the setting, as `recipe.lr`
        where = ("proxy." if kind is SearchConfig else "") + re.split(r"[: ]", str(error))[0]
        message = _one_line(str(error))
        raise ConfigError(f"{_origin(where, source, overrides)}: {message}") from None


def _one_line(text: str) -> str:
    """A text for a message: keys and values come from files, and may be long or steer a terminal.

    Returns:
        At most 400 characters, all printable; the others are escaped.
    """
    return printable(text if len(text) <= 400 else text[:397] + "...")


def _put(tree: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            inner = {_SHORT_FORMS[key]: inner} if key in _SHORT_FORMS and inner else {}
            tree[key] = inner
        tree = inner
    tree[keys[-1]] = value


def _origin(where: str, source: str, overrides: Sequence[Override]) -> str:
    """The option that set what is wrong, or else the file."""
    for override in reversed(overrides):
        if f"{override.key}.".startswith(f"{where}.") or f"{where}.".startswith(f"{override.key}."):
            return override.option
    return source


def _explain(error: ValidationError, kind: type[BaseModel]) -> tuple[str, str]:
    """Returns the setting that pydantic refused first, and one line about it."""
    problem = error.errors(include_url=False)[0]
    steps = [str(step) for step in problem["loc"]]
    known = _known_keys(kind, steps[:-1])
    if _sections_in(kind, steps[:1]):
        del steps[1:2]  # the name, by which a section's settings are chosen
    where, met, message = ".".join(steps), reprlib.repr(problem["input"]), problem["msg"]
    if problem["type"] == "union_tag_invalid":
        tags, tag = problem["ctx"]["expected_tags"], problem["ctx"]["tag"]
        near = nearest(tag, tags.replace("'", "").split(", "))
        wanted = tags.replace(", ", " or ")
        return f"{where}.name", f"{where}.name is {tag!r}; it should be {wanted}" + (
            f"; did you mean {near!r}?" if near else ""
        )
    if problem["type"] == "extra_forbidden":
        room = f" in {'.'.join(steps[:-1])}" if steps[1:] else ""
        job = kind.model_fields["job"].default
        remedy = _ELSEWHERE.get((job, where)) or hint(steps[-1], sorted(known))
        return where, f"unknown key {steps[-1]!r}{room}{remedy}"
    if message.startswith("Input should be "):
        wanted = message.removeprefix("Input should be ").partition(", unable to")[0]
        return where, f"{where} is {met}; it should be {wanted}"
    if problem["type"] == "value_error":  # a room's own words, which echo what they met
        message = message.removeprefix("Value error, ").removeprefix(f"{steps[-1]}: ")
        return where, f"{where}: {message}"
    return where, f"{where} is {met}: {message}"


def _known_keys(kind: type[BaseModel], steps: Sequence[str]) -> list[str]:
    """The fields of the settings that a path of keys leads to.

    Behind the key of a `Section` stands the name that chose its settings.
    """
    models = [kind]
    sections = _sections_in(kind, steps[:1])
    if sections and steps[1:]:
        models, steps = [sections[0].settings_type(steps[1])], steps[2:]
    for step in steps:
        fields = [model.model_fields[step] for model in models if step in model.model_fields]
        models = [m for field in fields for m in _models_in(field.annotation)] or models
    return [name for model in models for name in model.model_fields]


def _sections_in(kind: type[BaseModel], steps: Sequence[str]) -> list[Section]:
    """What chooses the settings of a field, given as a path of one key; none for most fields."""
    field = kind.model_fields.get(steps[0]) if steps else None
    if field is None:
        return []
    optional = [mark for arm in get_args(field.annotation) for mark in get_args(arm)]
    return [mark for mark in (*field.metadata, *optional) if isinstance(mark, Section)]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
