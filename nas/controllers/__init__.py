"""Search algorithms, one per file behind the interface of `base`; no file is loaded before use."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from nas.controllers.base import Controller
from nas.errors import ConfigError
from nas.settings import Settings
from nas.space import Space
from nas.tables import OpenTable
from nas.validation import first_problem

CONTROLLERS = OpenTable(
    "controllers",
    {
        "evolution": "nas.controllers.evolution:Evolution",
        "ppo": "nas.controllers.ppo:PPO",
        "predictor": "nas.controllers.predictor.controller:Predictor",
        "random": "nas.controllers.random:Random",
        "reinforce": "nas.controllers.reinforce:Reinforce",
    },
)
"""Name of a controller to the place of its class; another package may add its own."""


class ControllerSettings(Settings):
    """Which algorithm proposes.

    Attributes:
        name: one of `CONTROLLERS`.
        options: fields of the algorithm's own settings that differ from its defaults.
    """

    name: str = "predictor"
    options: dict[str, Any] = Field(default_factory=dict)


def make_controller(settings: ControllerSettings, space: Space, seed: int) -> Controller:
    """Builds a controller for a space.

    Raises:
        ConfigError: if there is none of this name, or an option is wrong.
    """
    if settings.name not in CONTROLLERS:
        raise ConfigError(
            f"controller.name: {settings.name!r} is unknown; {CONTROLLERS.unknown(settings.name)}"
        )
    kind: type[Controller] = CONTROLLERS.load(settings.name)
    try:
        options = kind.settings_type(**settings.options)
    except ValidationError as error:
        raise ConfigError(f"controller.options.{first_problem(error)}") from error
    return kind(space, seed, options)


__all__ = ["CONTROLLERS", "Controller", "ControllerSettings", "make_controller"]
