"""What decides the last bits of a result: threads, instruction set, precision, versions."""

from __future__ import annotations

import torch

from nas.training.settings import Precision


def set_numerics(threads: int | None) -> None:
    """Pins the process to `threads` and to kernels that give the same bits each time."""
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # else each empty() is filled
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


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
