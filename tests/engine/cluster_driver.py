"""A search on three nodes of its own, of which one is lost and another joins.

`python -m tests.engine.cluster_driver FOLDER` writes what happened into the folder.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from nas.data.coco import load_split
from nas.errors import RunError
from nas.executors import ComputeSettings
from nas.executors.gpu_share import fit_to_gpus
from nas.executors.ray import executor
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.interfaces import Event
from nas.study.settings import StudySettings

SPACE = ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(6)})
BUDGET = 36
NODE: dict[str, Any] = {
    "node_ip_address": "127.0.0.1",
    "num_cpus": 1,
    "object_store_memory": 80_000_000,
    "include_dashboard": False,
}
GIB = 2**30
T = TypeVar("T")


class Diary:
    """Lines of words that several processes write down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, *words: object) -> None:
        with self.path.open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def lines(self, first: str) -> list[list[str]]:
        """Returns the words of each line that begins with a word."""
        text = self.path.read_text() if self.path.exists() else ""
        return [words for line in text.splitlines() if (words := line.split())[0] == first]


class Held:
    """Takes a moment; a trial that begins while the file `hold` is there waits for its end."""

    def __init__(self, folder: Path) -> None:
        self.hold, self.diary = folder / "hold", Diary(folder / "diary.txt")

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        import ray

        node = ray.get_runtime_context().get_node_id()
        is_held = self.hold.exists()
        self.diary.note("held" if is_held else "began", seed, node)
        while is_held and self.hold.exists():
            time.sleep(0.02)
        time.sleep(0.2)
        self.diary.note("ended", seed, node)
        return float(sum(candidate.values()))


class Distant:
    """Needs a folder of images."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def prepare(self) -> None:
        load_split(self.data, "train")

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        return 0.0


class Pretended:
    """Says that its trial took 8 GiB of a GPU of 24, and CUDA 0.5 GiB more."""

    device = "cuda"

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Replaces torch's counters in the process that it is sent to."""
        import torch

        torch.cuda.is_available = lambda: True
        torch.cuda.max_memory_reserved = lambda *_: 8 * GIB
        torch.cuda.memory_reserved = lambda *_: 1 * GIB
        torch.cuda.mem_get_info = lambda *_: (24 * GIB - 3 * GIB // 2, 24 * GIB)

    def __getstate__(self) -> dict[str, Any]:
        return {"replaces": True}

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        return 0.0


def main(run: str) -> None:
    from ray.cluster_utils import Cluster  # not above: the test imports this file

    folder = Path(run)
    cluster = Cluster(shutdown_at_exit=False)  # its signal handlers can't be set by a thread
    try:
        cluster.add_node(**NODE, num_gpus=1)  # for Ray's bookkeeping; there needn't be one
        nodes = {node.node_id: node for node in (cluster.add_node(**NODE) for _ in range(2))}
        compute = ComputeSettings(workers=3, gpus_per_worker=0, address=cluster.address)
        (folder / "refusal.txt").write_text(refused(compute, folder / "missing"))
        executor.START_SECONDS = 1.0
        large = compute.model_copy(update={"gpus_per_worker": 2.0})
        (folder / "no room.txt").write_text(refused(large, folder))
        executor.START_SECONDS = 300.0
        auto = ComputeSettings(address=cluster.address)
        (folder / "shared.json").write_text(
            fit_to_gpus(auto, Pretended(), lambda: {"l0": 0}).model_dump_json()
        )
        diary = Diary(folder / "diary.txt")

        def note(event: Event) -> None:
            diary.note(event.kind, event.trial.number, event.trial.attempt, event.trial.seed)

        (folder / "hold").touch()
        with ThreadPoolExecutor(1) as beside:
            changed = beside.submit(change, cluster, nodes, folder)
            search(
                SPACE,
                Held(folder),
                "random",
                budget=BUDGET,
                run=folder,
                compute=compute,
                settings=StudySettings(backoff=(0.1,)),
                on_event=note,
            )
        changed.result()
    finally:
        cluster.shutdown()


def refused(compute: ComputeSettings, data: Path) -> str:
    try:
        search(SPACE, Distant(data), "random", budget=1, compute=compute)
    except RunError as error:
        return str(error)
    return "accepted"


def change(cluster: Any, nodes: dict[str, Any], folder: Path) -> None:
    """Ends a node while it runs a trial, and adds one when the search has gone on without."""
    diary, hold = Diary(folder / "diary.txt"), folder / "hold"

    def ended() -> int:
        return len(diary.lines("ended"))

    def held() -> set[str]:
        """Returns the nodes whose trials wait."""
        over = {seed for _, seed, _ in diary.lines("ended")}
        return {node for _, seed, node in diary.lines("held") if seed not in over}

    soon(lambda: len(held()) == 3)
    hold.unlink()
    soon(lambda: ended() >= 6)
    hold.touch()
    lost = soon(lambda: sorted(held() & nodes.keys()))[0]
    diary.note("lost", lost)
    cluster.remove_node(nodes[lost], allow_graceful=False)
    soon(lambda: diary.lines("retry"))
    executor.START_SECONDS = 0.5  # from here on, the third worker is late
    hold.unlink()
    (folder / "listens.txt").write_text(" ".join(listened(os.environ["RAY_TMPDIR"])))
    before = ended()
    soon(lambda: ended() >= before + 8)
    hold.touch()
    added = cluster.add_node(**NODE).node_id
    diary.note("added", added)
    soon(lambda: added in held())
    hold.unlink()


def soon(look: Callable[[], T]) -> T:
    """Waits until something is there."""
    deadline = time.monotonic() + 120
    while not (met := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return met


def processes(folder: str) -> dict[int, list[str]]:
    """Returns the processes that a folder's files are open in, and what each has open."""
    found: dict[int, list[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(file) for file in (process / "fd").iterdir()]
            if any(folder in word for word in (*links, (process / "cmdline").read_text())):
                found[int(process.name)] = links
        except OSError:  # it has just ended, or is another user's
            continue
    return found


def listened(folder: str) -> set[str]:
    """Returns the addresses, as the kernel writes them, that these processes listen on."""
    links = {link for opened in processes(folder).values() for link in opened}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    return {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
