"""Settings of reduced training, and of how networks are made smaller. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from nas.settings import Settings
from nas.training.recipes import TrialRecipeField, resolve
from nas.training.settings import Precision, RecipeSettings
from proxies.base import BaseProxySettings


class ScaleSettings(Settings):
    """How a candidate is made smaller; see `Genome.scaled`. None leaves a part as deployed.

    `input_size` gives all candidates one side; `input_factor` multiplies each one's own, for spaces
    where it is a choice. There is one of them at most.
    """

    width: float = Field(default=1.0, gt=0)
    alpha: float | None = Field(default=None, gt=0)
    neck_width: int | None = Field(default=None, ge=1)
    head_width: int | None = Field(default=None, ge=1)
    input_size: int | None = Field(default=None, ge=32)
    input_factor: float | None = Field(default=None, gt=0, le=4)

    @model_validator(mode="before")
    @classmethod
    def _factor_takes_the_place_of_a_default_size(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("input_factor") is not None:
            return {"input_size": None, **values}
        return values

    @model_validator(mode="after")
    def _has_one_input(self) -> Self:
        if self.input_size is not None and self.input_factor is not None:
            raise ValueError(
                f"input_size {self.input_size} and input_factor {self.input_factor}: give one, and "
                "null for the other"
            )
        return self


class ProxyScaleSettings(ScaleSettings):
    """How a trial's candidate is made smaller, if nothing else is said.

    The defaults suit a laptop: the paper's quarter of the width and of α (arXiv 1912.05027 §5.1),
    with a narrower head and a smaller input than its 64 channels and 512 px.
    """

    width: float = Field(default=0.25, gt=0)
    alpha: float | None = Field(default=0.25, gt=0)
    neck_width: int | None = Field(default=32, ge=1)
    head_width: int | None = Field(default=32, ge=1)
    input_size: int | None = Field(default=128, ge=32)


class ProxySettings(BaseProxySettings):
    """What a trial of a search consists of; a part that isn't written keeps its default."""

    name: Literal["training"] = "training"
    images: int | None = Field(default=3000, ge=1)  # of the training part, at most; None: all
    recipe: TrialRecipeField = resolve("trial")
    scale: ProxyScaleSettings = ProxyScaleSettings()
    threads: int = Field(default=1, ge=1)  # takes the place of the recipe's
    precision: Precision | None = None  # takes the place of the recipe's

    @model_validator(mode="before")
    @classmethod
    def _precision_is_told_once(cls, values: Any) -> Any:
        recipe = values.get("recipe") if isinstance(values, Mapping) else None
        if not isinstance(recipe, Mapping) or values.get("precision") is None:
            return values
        precision, other = values["precision"], recipe.get("precision")
        if other is not None and other != precision:
            raise ValueError(
                f"precision is {precision!r} and recipe.precision {other!r}; set one of them"
            )
        return values

    @model_validator(mode="after")
    def _says_nothing_in_vain(self) -> Self:
        if self.recipe.threads not in (None, self.threads):
            raise ValueError(
                f"recipe.threads is {self.recipe.threads}, and a trial's are proxy.threads; set "
                "that instead"
            )
        usual = RecipeSettings.model_fields["checkpoint_minutes"].default
        if self.recipe.checkpoint_minutes != usual:
            raise ValueError("recipe.checkpoint_minutes: a trial keeps no checkpoint; leave it out")
        if self.precision is not None and self.precision != self.recipe.precision:
            # Written once, in both places, so that a config that is written whole reads back.
            written = self.recipe.model_copy(update={"precision": self.precision})
            self.__dict__["recipe"] = written
        return self

    def trial_recipe(self, length: float = 1) -> RecipeSettings:
        """Returns the recipe of a trial with `length` times the epochs."""
        changes: dict[str, Any] = {
            "epochs": max(1, round(self.recipe.epochs * length)),
            "threads": self.threads,
            "precision": self.precision or self.recipe.precision,
        }
        written = self.recipe.model_dump(exclude={"base"})
        return resolve(self.recipe.base, {**written, **changes})
