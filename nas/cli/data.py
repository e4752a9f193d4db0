"""`nas data …`: looks at a folder of images before training on it."""

from __future__ import annotations

from typing import Annotated

import typer

from nas.cli.dispatch import run_job
from nas.cli.options import DataFolder, OutOption

data_app = typer.Typer(help="Look at a folder of images before training on it.")


@data_app.command("check")
def data_check(
    folder: DataFolder,
    size: Annotated[int, typer.Option(min=1, help="Input size for which anchors match.")] = 640,
) -> None:
    """List what is wrong with a folder: files, boxes, categories, ids, and boxes out of reach.

    The last line says what is left out, what is used though it is odd, and which commands refuse
    the folder. The exit code is 0 if all of it is used, and 2 if something is left out or refused.

    nas data check DIR
    """
    run_job("data.check", "check", folder, size=size)


@data_app.command("split")
def data_split(
    folder: DataFolder,
    share: Annotated[float, typer.Option(min=0, max=1, help="What goes to val.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Divide a folder that has one annotation file into train and val, in blocks."""
    run_job("data.split", "split", folder, share=share, seed=seed)


@data_app.command("show")
def data_show(
    folder: DataFolder,
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 16,
    out: OutOption = None,
) -> None:
    """Draw some of the images with their boxes and names."""
    run_job("data.show", "show", folder, count=count, out=out)
