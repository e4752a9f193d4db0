"""Words that several verbs take, and the settings that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nas.config.overrides import Override

Ref = Annotated[str, typer.Argument(metavar="REF", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", show_default=False)]
DataFolder = Annotated[Path, typer.Argument(metavar="DIR", show_default=False)]
ConfigName = Annotated[
    str | None,
    typer.Argument(metavar="CONFIG", help="A YAML; without it the defaults.", show_default=False),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="COCO-format images; without it built-in scenes."),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", metavar="DIR", help="Where to keep it (runs/NAME-1 …); one that was begun goes on."
    ),
]
WarmStartOption = Annotated[
    Path | None,
    typer.Option(
        "--warm-start",
        metavar="RUN",
        help="A search of the same data, proxy and seed, whose trials count as known here.",
    ),
]
InitOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|none|FILE|NAME|RUN:17",
        help="What trainings start from: auto, the backbone's published weights where there are "
        "any on this machine; none, from scratch; a file; weights by NAME, downloaded if need be; "
        "or, to train its network, a trial's.",
    ),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Upper limit, such as params=30e6 or latency_ms=30."),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="A cost to land on, from both sides, such as latency_ms=30: "
        "the reward loses 0.1 · |cost / target - 1| (objective.shape.weight).",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, such as proxy.recipe.epochs=6."),
]
TrainSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, such as recipe.epochs=6 or recipe=spinenet_c.",
    ),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="What all random draws come from (0).")
]
ControllerOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="What proposes architectures (predictor).")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|TIME",
        help="Trials (120), or time (8h, 90m); by default 40 % of time stays for training.",
    ),
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Trials under way at once.")]
TrainWorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes that share each batch, one a GPU.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A Ray cluster to join (auto: this machine's)."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan, its size and its cost; do nothing.")
]
TensorBoardOption = Annotated[
    bool,
    typer.Option("--tensorboard", help="Scalars and pictures for TensorBoard, in RUN/tensorboard."),
]
GenomesOption = Annotated[
    list[str] | None,
    typer.Option("--genome", metavar="REF", help="Networks to time, instead of a space's."),
]
PiecesOption = Annotated[
    int, typer.Option(min=20, help="Blocks and heads of drawn networks to time.")
]
NetworksOption = Annotated[int, typer.Option(min=0, help="Whole networks to time besides.")]
ClassesOption = Annotated[int, typer.Option(min=2, help="Background counts.")]
TableOption = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The table; one that is there is added to.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Where to put the files.")
]

SETTINGS = {
    "seed": "seed",
    "budget": "budget",
    "controller": "controller.name",
    "data": "data_dir",
    "warm_start": "warm_start",
    "workers": "compute.workers",
    "address": "compute.address",
    "genome": "genome",
    "init": "init",
    "tensorboard": "tensorboard",
}
"""An option's name, and the setting that it stands for."""


def overrides(
    sets: list[str] | None,
    limits: list[str] | None = None,
    target: str | None = None,
    **options: Any,
) -> list[Override]:
    """Returns the settings that options stand for; later ones win.

    Args:
        sets: of `--set`, as `key=value`.
        limits: of `--limit`, as `name=value`.
        target: of `--target`, as `name=value`.
        options: others by their name in `SETTINGS`; None is left out.

    Raises:
        ConfigError: a text is no `key=value`.
    """
    from nas.config.overrides import Override

    settings = [Override.parse("--set", text) for text in sets or []]
    if target is not None:
        cost = Override.parse("--target", target)
        settings.append(Override(cost.option, "objective.shape.cost", cost.key))
        settings.append(Override(cost.option, "objective.shape.target", cost.value))
    settings += [Override.parse("--limit", text, "objective.limits") for text in limits or []]
    for name, value in options.items():
        if value is not None:
            value = _absolute(value) if name == "init" else value
            value = value.expanduser().absolute() if isinstance(value, Path) else value
            settings.append(Override(f"--{name.replace('_', '-')} {value}", SETTINGS[name], value))
    return settings


def _absolute(init: str) -> str:
    """Returns `--init` with the whole path of a file or a run; other words as they are."""
    file, (run, _, number) = Path(init).expanduser(), init.rpartition(":")
    if file.is_file():
        return str(file.absolute())
    if run and Path(run).expanduser().is_dir():
        return f"{Path(run).expanduser().absolute()}:{number}"
    return init
