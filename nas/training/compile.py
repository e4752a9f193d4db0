"""torch.compile around what a detector spends its time on."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nas.errors import ConfigError


@contextmanager
def compiled(model: nn.Module, device: torch.device, *, enabled: bool) -> Iterator[None]:
    """Compiles the way from pictures to maps while the context lasts.

    The head stays as it is: what it computes depends on how many objects there are, and would be
    compiled anew again and again.

    Raises:
        ConfigError: nothing here can compile.
    """
    if not enabled:
        yield
        return
    _check_compiler(device)
    features = model.features
    model.features = torch.compile(features)  # type: ignore[arg-type, assignment]
    try:
        yield
    finally:
        del model.features


def _check_compiler(device: torch.device) -> None:
    if device.type == "cuda":
        missing = "" if importlib.util.find_spec("triton") else "the package triton"
    else:
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            missing = "" if get_cpp_compiler() else "a C++ compiler"
        except InvalidCxxCompiler:
            missing = "a C++ compiler, such as g++"
    if missing:
        raise ConfigError(
            f"recipe.compile: torch.compile for {device.type} needs {missing}, which isn't here; "
            "install it, or leave the setting out"
        )
