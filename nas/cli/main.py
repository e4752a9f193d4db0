"""The command `nas`: its verbs and their arguments.

Each verb calls the function of its name in `nas/jobs/`, which shows its progress and its results.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import signals
from nas.cli.data import data_app
from nas.cli.device import device_app
from nas.cli.dispatch import run_folder, run_job, run_long_job
from nas.cli.errors import end_at_once, exit_code, say
from nas.cli.formats import FormatsCommand
from nas.cli.options import (
    AddressOption,
    BudgetOption,
    ConfigName,
    ControllerOption,
    DataOption,
    DryRun,
    InitOption,
    LimitOption,
    OutOption,
    Ref,
    RunFolder,
    RunOption,
    SeedOption,
    SetOption,
    TargetOption,
    TensorBoardOption,
    TrainSetOption,
    TrainWorkersOption,
    WarmStartOption,
    WorkersOption,
    overrides,
)
from nas.terminal import standard_streams

if TYPE_CHECKING:
    pass

EPILOG = """
REF names an architecture: a name in the zoo (spinenet-49), a genome's JSON,
RUN (its best), RUN:17 (trial 17), or a checkpoint (model.safetensors).

CONFIG is a path, or the name of a config that comes with nas (spinenet_fod).

DIR holds train.json, val.json and the images in train/ and val/; COCO's own
layout and the exports of annotation tools are recognised too.
"""

app = typer.Typer(
    name="nas",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
app.add_typer(data_app, name="data")
app.add_typer(device_app, name="device")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    Args:
        arguments: its words; None takes those that the program was started with, whose signals it
            then heeds to the end.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with (
        standard_streams() as output,
        signals.raised(at_once=end_at_once, to_the_end=arguments is None) as stops,
    ):
        code = exit_code(app, words, stops)
        output.flush()
        if output.failure:
            return say(f"standard output can't be written ({output.failure})", code or 2)
        return code


@app.callback(invoke_without_command=True)
def nas(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Search the best object detector for your images and your limits, train it, ship it.

    First time here? nas demo shows the whole job. On your own COCO-format folder:

        nas data check DIR
        nas search --data DIR --run runs/mine --budget 8h
        nas train --genome runs/mine --data DIR --run runs/mine-final
        nas eval runs/mine-final --data DIR
        nas export runs/mine-final --format json,onnx
    """
    if version:
        from nas.environment import versions

        print("spinenas", versions()["spinenas"] or "(not installed)")
        raise typer.Exit


@app.command()
def search(
    config: ConfigName = None,
    data: DataOption = None,
    run: RunOption = None,
    budget: BudgetOption = None,
    limit: LimitOption = None,
    target: TargetOption = None,
    controller: ControllerOption = None,
    init: InitOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    warm_start: WarmStartOption = None,
    dry_run: DryRun = False,
) -> None:
    """Try architectures on a part of the data, and score the best again.

    nas search --data DIR --budget 8h
    nas search spinenet_fod --data DIR --run runs/fod --limit params=30e6
    nas search spinenet_fod --data DIR --limit params=20e6 --warm-start runs/fod
    nas search --data DIR --set costs.latency_table=pixel4.json --target latency_ms=30
    """
    from nas.config.loading import load_search

    options = overrides(
        sets,
        limit,
        target,
        data=data,
        budget=budget,
        controller=controller,
        init=init,
        seed=seed,
        workers=workers,
        address=address,
        warm_start=warm_start,
    )
    settings = load_search(config, options)
    folder = run_folder(run, config, "search")
    run_long_job(settings.job, folder, settings, folder, dry_run=dry_run)


@app.command()
def train(
    config: ConfigName = None,
    genome: Annotated[
        str | None, typer.Option(metavar="REF", help="What to train, instead of the config's.")
    ] = None,
    data: DataOption = None,
    run: RunOption = None,
    init: InitOption = None,
    seed: SeedOption = None,
    sets: TrainSetOption = None,
    tensorboard: TensorBoardOption = False,
    workers: TrainWorkersOption = None,
    address: AddressOption = None,
    dry_run: DryRun = False,
) -> None:
    """Train one architecture on all of the training images.

    nas train --genome runs/fod --data DIR
    nas train --genome spinenet-49 --data COCO_DIR --set recipe=spinenet_c --run runs/s49
    """
    from nas.config.loading import load_train

    options = overrides(
        sets,
        data=data,
        genome=genome,
        init=init,
        seed=seed,
        workers=workers,
        address=address,
        tensorboard=tensorboard or None,
    )
    settings = load_train(config, options)
    folder = run_folder(run, config, "train")
    run_long_job(settings.job, folder, settings, folder, dry_run=dry_run)


@app.command()
def resume(
    run: RunFolder,
    budget: BudgetOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Where its images are now, if they moved."),
    ] = None,
) -> None:
    """Go on with a search or a training that was stopped; nothing finished is run again.

    nas resume runs/fod --workers 4
    """
    options = overrides(None, budget=budget, workers=workers, address=address, data=data)
    run_long_job("resume", run, run, options)


@app.command()
def top(
    run: RunFolder,
    count: Annotated[int, typer.Option(min=1, help="How many rows.")] = 10,
) -> None:
    """Show a search's leaderboard, also while it runs.

    nas top runs/fod
    """
    run_job("top", "top", run, count=count)


@app.command()
def show(
    ref: Ref,
    other: Annotated[str | None, typer.Argument(metavar="REF", show_default=False)] = None,
    out: OutOption = None,
) -> None:
    """Draw an architecture as SVG and PNG; with a second one, what differs.

    nas show spinenet-49 runs/fod
    """
    run_job("show", "show", ref, other, out=out)


@app.command()
def report(run: RunFolder, out: OutOption = None) -> None:
    """Write a search's page: leaderboard, curves, pictures."""
    run_job("report", "report", run, out=out)


@app.command()
def compare(first: RunFolder, second: RunFolder) -> None:
    """Compare two searches or two trainings; of searches, say whether they can be told apart.

    nas compare runs/one runs/other
    """
    run_job("compare", "compare", first, second)


@app.command("eval")
def evaluate(
    ref: Ref,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Judged on its val; without it, on the training's own."
        ),
    ] = None,
    out: OutOption = None,
) -> None:
    """Compute COCO's numbers of a trained model on the validation images, and of each class.

    With --out it writes them all, and the precision-recall curves as numbers and as a picture.

    nas eval runs/fod-final --data DIR --out runs/fod-final/eval
    """
    run_job("evaluate", "evaluate", ref, data, out=out)


@app.command()
def predict(
    ref: Ref,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", show_default=False)],
    out: OutOption = None,
    score: Annotated[float, typer.Option(min=0, max=1, help="Boxes below are left out.")] = 0.3,
) -> None:
    """Find objects in pictures; writes them with boxes and names.

    nas predict runs/fod-final photo.jpg
    """
    run_job("predict", "predict", ref, images, out=out, score=score)


@app.command()
def profile(
    ref: Ref,
    image_size: Annotated[int | None, typer.Option(min=1, help="Its own without it.")] = None,
    classes: Annotated[int, typer.Option(min=2, help="Background counts.")] = 91,
    latency: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A device's table of times.")
    ] = None,
) -> None:
    """Count parameters and multiply-adds, part by part.

    nas profile spinenet-190 --image-size 1280
    """
    run_job("profile", "profile", ref, image_size=image_size, num_classes=classes, latency=latency)


@app.command(cls=FormatsCommand)
def export(
    ref: Ref,
    formats: Annotated[
        str, typer.Option("--format", metavar="NAMES", help="Names with commas between them.")
    ] = "json,onnx",
    out: OutOption = None,
    data: DataOption = None,
) -> None:
    """Write a model for use elsewhere, and check the file by running it.

    nas export runs/fod-final --format json,onnx
    """
    run_job("export", "export", ref, formats.split(","), out=out, data=data)


@app.command()
def demo() -> None:
    """See the whole job on built-in pictures: search, train, evaluate, export, use."""
    run_job("demo", "demo")


@app.command()
def doctor() -> None:
    """Check what this machine has, and say what is missing."""
    from nas.jobs.doctor import doctor as examine

    if not examine():
        raise typer.Exit(1)
