"""`nas doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from nas import environment
from nas.data.settings import cache_directory
from nas.errors import one_line, printable
from nas.ui import console as screen

GIB = 2**30
ENOUGH_MEMORY = 4 * GIB  # two workers of a small proxy beside a driver
ENOUGH_DISK = 5 * GIB  # pixels of 30,000 images at 128 px, and some runs


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: was looked at.
        state: that it is in.
        good: whether that will do.
        remedy: where it won't.
    """

    what: str
    state: str
    good: bool = True
    remedy: str = ""


def doctor(console: Console | None = None) -> bool:
    """Prints a line for each check as it is done; returns whether all are good."""
    console = console or screen.console
    good = True
    for check in CHECKS:
        with console.status(f"looking at {check.__name__.strip('_')}"):
            finding = examine(check)
        mark = ("✔", "green") if finding.good else ("✘", "red")
        remedy = f"; {finding.remedy}" if finding.remedy and not finding.good else ""
        line = printable(f" {finding.what}: {finding.state}{remedy}")
        console.print(Text.assemble(mark, line), soft_wrap=True)
        good &= finding.good
    return good


def examine(check: Callable[[], Finding]) -> Finding:
    """Does one check; a check that fails is a finding too."""
    try:
        return check()
    except Exception as error:
        line = one_line(f"{type(error).__name__}: {error}", 200)
        return Finding(check.__name__.strip("_"), line, good=False, remedy="install it again")


def python() -> Finding:
    """Checks the interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", f"{version} at {sys.executable}", sys.version_info >= (3, 11))


def libraries() -> Finding:
    """Checks that all are installed."""
    versions = environment.versions()
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        remedy = f"type pip install {' '.join(missing)}, or make setup in a checkout"
        return Finding("libraries", f"without {', '.join(missing)}", False, remedy)
    return Finding("libraries", ", ".join(f"{n} {v}" for n, v in versions.items()))


def torch() -> Finding:
    """Checks that torch computes, and torchvision's own operators can be loaded."""
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    capability = torch.backends.cpu.get_cpu_capability()
    return Finding(
        "torch",
        f"{torch.__version__}, {capability} on the CPU",
        kept == [0, 2],
        "torchvision's nms is wrong; install the versions of constraints.txt",
    )


def processor() -> Finding:
    """Shows cores and their name."""
    cores = environment.cores()
    return Finding("processor", f"{environment.processor()}, {cores} cores for this process")


def memory() -> Finding:
    """Checks the machine's memory."""
    size = environment.memory_bytes()
    return Finding("memory", f"{size / GIB:.0f} GiB", size >= ENOUGH_MEMORY, "use one worker")


def gpu() -> Finding:
    """Checks that torch sees the GPUs; none is no fault."""
    import torch

    listed = environment.gpus()
    if not listed:
        return Finding("GPU", "none; searches run on the processor")
    visible = torch.cuda.device_count()
    return Finding(
        "GPU",
        ", ".join(listed),
        visible == len(listed),
        f"torch sees {visible}: is the driver new enough for CUDA {torch.version.cuda}?",
    )


def cache() -> Finding:
    """Checks that decoded images can be kept."""
    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = "name another folder in SPINENAS_CACHE"
        return Finding("cache", f"{folder}: {error.strerror}", False, remedy)
    return _space("cache", folder, "name another folder in SPINENAS_CACHE")


def disk() -> Finding:
    """Checks the room for runs in the current folder."""
    return _space("disk", Path.cwd(), "make room, or work in another folder")


def _space(what: str, folder: Path, remedy: str) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding(what, f"{folder}, {free / GIB:.0f} GiB free", free >= ENOUGH_DISK, remedy)


def onnx() -> Finding:
    """Checks that exported files can be run."""
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return Finding("onnxruntime", f"{onnxruntime.__version__} with {providers}")


def ray() -> Finding:
    """Checks that workers can be started."""
    from nas.executors import ComputeSettings
    from nas.executors.ray.executor import RayExecutor

    started = time.monotonic()
    with RayExecutor(ComputeSettings(workers=1)):
        seconds = time.monotonic() - started
    return Finding("Ray", f"one worker's start takes {seconds:.0f} s")


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    libraries,
    processor,
    memory,
    torch,
    gpu,
    disk,
    cache,
    onnx,
    ray,
)
