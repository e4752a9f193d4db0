"""What may stand in an experiment's YAML.

`SearchConfig` and `TrainConfig` are put together from the rooms' own settings; each room is given
its section and no more. A config is resolved once, from the file and then the options of the
command line, and written whole into the run's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nas.controllers import ControllerSettings
from nas.cost import CostSettings
from nas.data.settings import DataSettings
from nas.errors import ConfigError
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
from nas.training.recipes import RecipeField, default_init, resolve
from proxies.base import PROXY
from proxies.settings import ProxySettings, ScaleSettings
from search_spaces.base import SpaceSettings
from search_spaces.registry import SPACE
from search_spaces.spinenet.space import SpineNetSpaceSettings


class SearchConfig(Settings):
    """All that a search is made of.

    Attributes:
        budget: trials over both arms (120), or time ("8h") for them, re-evaluation and retraining.
        retrain_share: of a budget in time, what stays for retraining; 0 leaves all to the search.
        data_dir: a folder of COCO-format images; None takes the built-in scenes.
        warm_start: another search's folder, whose results a new one begins with.
        init: what trials start from: `auto`, published weights where the backbone has any; `none`;
            a name of such weights; or a file. By default the recipe's own start, else `auto`.
        proxy: the settings of one of `proxies.base.PROXIES`, by its name.
        stopping: ends trials early that fall behind; None runs all in full.
    """

    job: Literal["search"] = "search"
    seed: int = Field(default=0, ge=0)
    budget: int | str = 40
    retrain_share: float = Field(default=0.4, ge=0.0, lt=1.0)
    data_dir: Path | None = None
    warm_start: Path | None = None
    init: str = "auto"
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

    @model_validator(mode="after")
    def _starts_as_the_recipe(self) -> Self:
        if "init" not in self.model_fields_set:
            self.__dict__["init"] = default_init(getattr(self.proxy, "recipe", None))
        return self

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
        init: what training starts from, as in a search; or a trial's weights, `RUN:17`.
        data_dir: a folder of COCO-format images; None takes the built-in scenes.
        tensorboard: writes scalars and pictures for TensorBoard too, into the run's folder.
    """

    job: Literal["train"] = "train"
    seed: int = Field(default=0, ge=0)
    genome: str = "spinenet-49"
    scale: ScaleSettings = ScaleSettings()
    init: str = "auto"
    data_dir: Path | None = None
    data: DataSettings = DataSettings()
    recipe: RecipeField = resolve("short")
    tensorboard: bool = False
    compute: TrainComputeSettings = TrainComputeSettings()

    @model_validator(mode="after")
    def _starts_as_the_recipe(self) -> Self:
        if "init" not in self.model_fields_set:
            self.__dict__["init"] = default_init(self.recipe)
        return self


Config = SearchConfig | TrainConfig
