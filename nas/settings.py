"""The base of all settings: frozen, typed, and closed to unknown fields."""

from __future__ import annotations

import math
import re

from pydantic import BaseModel, ConfigDict

from nas.errors import ConfigError


class Settings(BaseModel):
    """A frozen group of settings; a field that it doesn't know is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(value: str | float, field_name: str = "duration") -> float:
    """Returns a duration in seconds.

    Args:
        value: Seconds, or text such as "45s", "30m", "8h", "1.5d".
        field_name: The setting's name, for messages.

    Raises:
        ConfigError: if the text is none of these, or not positive.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", value)
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.nan
    else:
        seconds = float(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"{field_name}: {value!r} is no duration; write 45s, 30m, 8h or 1d")
    return seconds
