"""Settings of reduced training and of the scale of its networks; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from nas.settings import Settings
from nas.training.recipes import TrialRecipeField, resolve
from nas.training.settings import Precision, RecipeSettings
from proxies.base import BaseProxySettings


class ScaleSettings(Settings):
    """The scale at which a candidate is built; see `Genome.scaled`.

    None leaves a part as deployed. `input_size` gives all candidates one side; `input_factor`
    multiplies each candidate's own, for spaces in which it is a choice. Only one of them is set.
    """

    width: float = Field(default=1.0, gt=0)
    alpha: float | None = Field(default=None, gt=0)
    neck_width: int | None = Field(default=None, ge=1)
    head_width: int | None = Field(default=None, ge=1)
    input_size: int | None = Field(default=None, ge=32)
    input_factor: float | None = Field(default=None, gt=0, le=4)

    @model_validator(mode="before")
    @classmethod
    def _factor_replaces_default_size(cls, values: Any) -> Any:
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
    """The scale at which a trial's candidate is built by default.

    The defaults suit a laptop: the paper's quarter of the width and of α (arXiv 1912.05027 §5.1),
    with a narrower head and a smaller input than its 64 channels and 512 px.
    """

    width: float = Field(default=0.25, gt=0)
    alpha: float | None = Field(default=0.25, gt=0)
    neck_width: int | None = Field(default=32, ge=1)
    head_width: int | None = Field(default=32, ge=1)
    input_size: int | None = Field(default=128, ge=32)


class ProxySettings(BaseProxySettings):
    """Settings of a trial of reduced training.

    Attributes:
        images: The most that a trial is trained on; None takes all of the training part.
        recipe: Of the training; `threads` and `precision` here take the place of its own.
        scale: At which the candidate is built.
        threads: CPU threads of each trial.
        precision: Of the training; None takes the recipe's.
    """

    name: Literal["training"] = "training"
    images: int | None = Field(default=3000, ge=1)
    recipe: TrialRecipeField = resolve("trial")
    scale: ProxyScaleSettings = ProxyScaleSettings()
    threads: int = Field(default=1, ge=1)
    precision: Precision | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_one_precision(cls, values: Any) -> Any:
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
    def _has_no_setting_without_effect(self) -> Self:
        if self.recipe.threads not in (None, self.threads):
            raise ValueError(
                f"recipe.threads is {self.recipe.threads}, and a trial's are proxy.threads; set "
                "that instead"
            )
        default = RecipeSettings.model_fields["checkpoint_minutes"].default
        if self.recipe.checkpoint_minutes != default:
            raise ValueError("recipe.checkpoint_minutes: a trial keeps no checkpoint; leave it out")
        if self.precision is not None and self.precision != self.recipe.precision:
            # In both fields, so that a config that is written out in full can be read again; by
            # `__dict__`, since settings are frozen.
            recipe = self.recipe.model_copy(update={"precision": self.precision})
            self.__dict__["recipe"] = recipe
        return self

    def trial_recipe(self, length: float = 1) -> RecipeSettings:
        """Returns the recipe of a trial.

        Args:
            length: Factor on the recipe's epochs; there is one epoch at least.
        """
        changes: dict[str, Any] = {
            "epochs": max(1, round(self.recipe.epochs * length)),
            "threads": self.threads,
            "precision": self.precision or self.recipe.precision,
        }
        overrides = self.recipe.model_dump(exclude={"base"})
        return resolve(self.recipe.base, {**overrides, **changes})
