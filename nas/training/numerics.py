"""What decides the last bits of a result: threads, instruction set, precision, versions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nas.training.settings import Precision, RecipeSettings


def set_numerics(threads: int | None) -> None:
    """Pins the process to `threads` and to kernels that give the same bits each time."""
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # else each empty() is filled
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a model runs in `precision`; its weights stay as they are."""
    dtype = autocast_dtype(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def autocast_dtype(precision: Precision) -> torch.dtype | None:
    """The type that autocast runs in; None for fp32 and fp64, which need no autocast."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def memory_format(recipe: RecipeSettings) -> torch.memory_format:
    """Returns the memory format of images and maps."""
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The state of the random numbers that a model on `device` may draw, by type of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generators(states: Mapping[str, Tensor]) -> None:
    """Goes back to what `generator_states` gave; a type of device that isn't here is left out."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def numerics_class(
    threads: int | None, precision: Precision, device: torch.device | str = "cpu"
) -> str:
    """Names the class within which equal runs give equal bits, such as `cpu-avx2-t1-fp32-2.15.0`.

    Results of different classes may differ in the last bits, and are not mixed unnoticed.
    """
    device = torch.device(device)
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device).replace(" ", "_").lower()
    else:
        capability = torch.backends.cpu.get_cpu_capability().replace(" ", "_").lower()
        where = f"cpu-{capability}-t{threads or torch.get_num_threads()}"
    return f"{where}-{precision}-torch{torch.__version__}"
