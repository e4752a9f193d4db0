"""This machine's hardware and versions, read without loading any of the libraries."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = (
    "spinenas",
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "pillow",
    "pycocotools",
    "pydantic",
    "onnx",
    "onnxruntime",
)
"""Libraries whose versions may change a number, or decide what can be done."""


def environment() -> dict[str, Any]:
    """Returns a JSON-able record of this start: its time, command, hardware and versions."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "gpus": gpus(),
        "versions": {"python": platform.python_version(), **versions()},
    }


def versions() -> dict[str, str | None]:
    """Returns each library's installed version; None where it isn't installed."""
    installed: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = None
    return installed


def cores() -> int:
    """Returns how many cores this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # not on macOS
        return len(process.cpu_affinity() or ())
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Returns the machine's memory in bytes."""
    return int(psutil.virtual_memory().total)


def free_memory_bytes() -> int:
    """Returns the bytes of memory that are free, within a container's limit too."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (
            Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="utf-8")
            for name in ("max", "current")
        )
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # another system, or no limit ("max")
        return free


def processor() -> str:
    """Returns the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpus() -> list[str]:
    """Returns the names and memory of NVIDIA GPUs, as `nvidia-smi` prints them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
