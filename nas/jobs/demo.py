"""`nas demo`: the whole job on built-in pictures, in a few minutes."""

from __future__ import annotations

import time

from nas.config.loading import EXPERIMENTS, load_search, load_train
from nas.data.coco import load_split
from nas.jobs.evaluate import evaluate
from nas.jobs.export import export
from nas.jobs.predict import predict
from nas.jobs.report import report
from nas.jobs.search import search
from nas.jobs.show import show
from nas.jobs.train import train
from nas.runs.folder import RUNS, unused
from nas.ui.console import console
from nas.ui.data_loading import data_folder

PICTURES = 4
"""Validation pictures that the trained model is shown."""

SCORE = 0.2
"""Boxes below aren't drawn; so short a training leaves scores low."""


def demo() -> None:
    """Searches, retrains the winner and SpineNet-49 alike, evaluates, exports, and predicts."""
    started = time.monotonic()
    folder = unused("demo", RUNS)
    _chapter(1, "Search: small versions of many architectures learn built-in scenes")
    config = load_search(str(EXPERIMENTS / "demo.yaml"))
    search(config, folder / "search")
    show(str(folder / "search"), "spinenet-49", out=folder)
    report(folder / "search")
    _chapter(2, "Train: the winner, and SpineNet-49 by the same recipe")
    scores = {}
    for name, ref in (("winner", str(folder / "search")), ("spinenet-49", "spinenet-49")):
        settings = load_train(str(EXPERIMENTS / "demo_train.yaml"))
        trained = train(settings.model_copy(update={"genome": ref}), folder / name)
        assert trained is not None
        scores[name] = trained.record["val"]["ap50"]
    _chapter(3, "Evaluate: COCO's numbers on pictures that neither search nor training saw")
    evaluate(str(folder / "winner"))
    _chapter(4, "Export: a file that runs without this toolkit")
    for path in export(str(folder / "winner"), ["json", "onnx"], out=folder / "export"):
        console.print(f"{path}: written and checked")
    _chapter(5, "Use: boxes and names on pictures")
    val = load_split(data_folder(None, config.data), "val")
    pictures = [image.path for image in val.images[:PICTURES]]
    predict(str(folder / "winner"), pictures, out=folder / "predictions", score=SCORE)
    minutes = (time.monotonic() - started) / 60
    console.print(
        f"done in {minutes:.1f} minutes; AP50 on val: "
        + ", ".join(f"{name} {score:.3f}" for name, score in scores.items()),
        f"everything is in {folder}: open {folder / 'search' / 'report'} and "
        f"{folder / 'predictions'}",
        "next, on your own COCO-format folder: nas data check DIR, then "
        "nas search --data DIR --budget 8h",
    )


def _chapter(number: int, title: str) -> None:
    console.print(f"{number}. {title}", style="bold green")
