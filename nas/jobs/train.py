"""`nas train`: trains one architecture on all of `train`, and judges it once on `val`."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path

import torch
from rich.progress import Progress
from rich.table import Table

from nas.config import TrainConfig
from nas.cost import profile
from nas.data.batches import TrainBatches
from nas.data.coco import Split
from nas.environment import cores
from nas.errors import ConfigError, RunError
from nas.evaluation.coco import evaluate
from nas.evaluation.metrics import Metrics
from nas.evaluation.predict import predict_split
from nas.executors.train_workers import Tell, train_together
from nas.genome import Genome
from nas.jobs.folders import data_folder, load_both, pixels
from nas.jobs.kept import keep_config
from nas.jobs.numbers import numbers_table
from nas.jobs.screen import console, progress_bar, say_in_logs, show_warnings
from nas.models import Detector, build
from nas.runs import Run, parse, write_text
from nas.training.checkpoint import Checkpoints
from nas.training.initial_weights import start_from
from nas.training.loop import Epoch
from nas.training.loop import train as train_epochs
from nas.training.weights import TrainedModel
from nas.training.workers import Workers, check_workers


def train(config: TrainConfig, folder: Path, *, dry_run: bool = False) -> TrainedModel | None:
    """Trains, or goes on with a training that was stopped, and writes ``model.safetensors``.

    The model keeps its last (or averaged) weights: ``val`` is read once, at the end.

    Args:
        config: all settings.
        folder: of the run; typed again, it goes on after the last finished epoch.
        dry_run: shows the plan and does nothing.

    Raises:
        NasError: one line that names the setting to change.
    """
    show_warnings()
    check_workers(config.recipe, config.compute.workers)
    genome = trained_genome(config)
    root = data_folder(config.data_dir, config.data)
    split, val = load_both(root)
    _show_plan(config, genome, split, val)
    model = _first_model(config, genome, split)
    if dry_run:
        return None
    run = Run.make(folder)
    keep = keep_config(run, config)
    run.record_environment()
    _train(model, config, split, run)
    keep()
    write_text(run.genome, genome.to_json(indent=1) + "\n")
    record = {"seed": config.seed, "data": split.fingerprint, "recipe": config.recipe.base}
    metrics = _judged(model, val, config)
    trained = TrainedModel(
        model,
        split.categories,
        {**record, "val": metrics.to_dict(), "epochs": config.recipe.epochs},
    )
    trained.save(run.weights)
    write_text(run.path / "metrics.json", json.dumps(metrics.to_dict(), indent=1) + "\n")
    console.print(numbers_table(metrics, f"{genome.name or 'model'} on val, {len(val)} images"))
    place = shlex.quote(str(config.data_dir)) if config.data_dir else "DIR"
    final = shlex.quote(str(run.path))
    console.print(
        f"the trained model is {run.weights}\n"
        f"next: nas eval {final} --data {place}    nas predict {final} IMAGE…    "
        f"nas export {final} --format json,onnx",
        soft_wrap=True,
        markup=False,
    )
    return trained


def trained_genome(config: TrainConfig) -> Genome:
    """The genome that a config trains: its reference, scaled, with the recipe's activation."""
    genome = parse(config.genome).genome().scaled(**config.scale.model_dump())
    activation = config.recipe.activation
    return genome.with_activation(activation) if activation else genome


def device_of(config: TrainConfig) -> str:
    """``cuda`` where there is one, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _first_model(config: TrainConfig, genome: Genome, split: Split) -> Detector:
    """The model before its first step: first weights of the seed, or a file's."""
    torch.manual_seed(config.seed)
    model = build(genome, 1 + len(split.categories), drop_path=config.recipe.drop_path)
    if config.init is not None:
        try:
            taken = start_from(model, config.init)
        except RunError as error:
            raise RunError(f"--init {error}") from None
        console.print(f"--init {config.init}: {taken}", soft_wrap=True, markup=False)
    return model


def _train(model: Detector, config: TrainConfig, split: Split, run: Run) -> None:
    recipe = config.recipe
    batches = _batches(model, config, split, Workers())
    with progress_bar() as bar:
        follow = _Progress(bar, recipe.epochs, len(batches), run)
        if config.compute.workers > 1:
            _train_together(config, run, follow)  # what is left is the end of the last epoch
        for epoch in train_epochs(
            model,
            batches,
            recipe,
            seed=config.seed,
            device=device_of(config),
            checkpoints=_checkpoints(model, config, split, run),
            incidents=run.path / "not_finite",
            on_step=follow.step,
        ):
            follow.epoch(epoch)
    model.cpu().float().eval()


def _batches(model: Detector, config: TrainConfig, split: Split, workers: Workers) -> TrainBatches:
    recipe, source = config.recipe, model.genome.input
    return TrainBatches(
        pixels(split, source.size, source.resize, config.data),
        split,
        recipe.batch_size,
        config.seed,
        flip=recipe.flip,
        jitter=recipe.jitter,
        # A step on a GPU is shorter than a large batch's augmentation.
        workers=min(8, cores() // workers.count) if device_of(config) == "cuda" else 0,
        share=(workers.rank, workers.count),
    )


def _checkpoints(model: Detector, config: TrainConfig, split: Split, run: Run) -> Checkpoints:
    identity = {
        "genome": model.genome.key,
        "recipe": config.recipe.model_dump(mode="json", exclude={"checkpoint_minutes"}),
        "data": split.fingerprint,
        "seed": config.seed,
    }
    return Checkpoints(run.checkpoints, identity)


def _train_together(config: TrainConfig, run: Run, follow: _Progress) -> None:
    """Trains in several processes, as far as the last checkpoint."""
    gpus = config.compute.gpus
    if config.compute.gpus_per_worker == "auto":
        gpus = float(device_of(config) == "cuda")
    if not gpus:
        note = "on processors each worker's batch norms see its own share of a batch"
        console.print(f"{config.compute.workers} workers: {note}", markup=False)

    def hear(message: Epoch | tuple[int, float, float]) -> None:
        if isinstance(message, Epoch):
            follow.epoch(message)
        else:
            follow.step(*message)

    work = partial(_work, config, Run(run.path.absolute()))
    train_together(work, config.compute, hear, gpus=gpus, threads=config.recipe.threads)


def _work(
    config: TrainConfig, run: Run, rank: int, count: int, device: torch.device, tell: Tell
) -> None:
    """What each of several processes does: it trains on its share of every batch."""
    workers = Workers(rank, count)
    split, _ = load_both(data_folder(config.data_dir, config.data))
    model = _first_model(config, trained_genome(config), split)
    for epoch in train_epochs(
        model,
        _batches(model, config, split, workers),
        config.recipe,
        seed=config.seed,
        device=device,
        checkpoints=_checkpoints(model, config, split, run),
        incidents=run.path / "not_finite",
        on_step=lambda *step: tell(step),
        workers=workers,
    ):
        tell(epoch)


def _judged(model: Detector, val: Split, config: TrainConfig) -> Metrics:
    source = model.genome.input
    cache = pixels(val, source.size, source.resize, config.data)
    with console.status("judging on val"):
        found = predict_split(model, cache, val, config.recipe.batch_size, device=device_of(config))
        return evaluate(val, found)


class _Progress:
    """The bar of a training, and one line of ``metrics.jsonl`` an epoch."""

    def __init__(self, bar: Progress, epochs: int, steps: int, run: Run) -> None:
        self.bar, self.epochs, self.run, self.steps = bar, epochs, run, steps
        self.task = bar.add_task("training", total=epochs * steps, note="")

    def step(self, number: int, lr: float, loss: float) -> None:
        """After each update."""
        epoch = number // self.steps + 1
        note = f"epoch {epoch}/{self.epochs}  loss {loss:.3f}"
        self.bar.update(self.task, completed=number + 1, note=note)

    def epoch(self, epoch: Epoch) -> None:
        """After each epoch."""
        line = {
            "epoch": epoch.number,
            "step": epoch.step,
            "lr": epoch.lr,
            **epoch.losses,
            "loss": epoch.loss,
            "images_per_second": epoch.images / max(epoch.seconds, 1e-9),
        }
        say_in_logs(f"epoch {epoch.number}/{self.epochs}  loss {epoch.loss:.3f}")
        with (self.run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _show_plan(config: TrainConfig, genome: Genome, split: Split, val: Split) -> None:
    recipe = config.recipe
    cost = profile(genome, num_classes=1 + len(split.categories))
    steps = max(1, len(split) // recipe.batch_size)
    if recipe.batch_size < 2:
        raise ConfigError("recipe.batch_size is 1; batch norm needs at least 2 images")
    table = Table(title="plan of the training", show_header=False, title_justify="left")
    rows = {
        "architecture": f"{genome.name or config.genome}, {cost.params / 1e6:.2f} M parameters, "
        f"{cost.macs / 1e9:.3f} G multiply-adds",
        "input": f"{genome.input.size} px, {genome.input.resize}",
        "images": f"{len(split)} to train on, {len(val)} to judge on, "
        f"{len(split.categories)} classes",
        "recipe": f"{recipe.base}: {recipe.epochs} epochs of {steps} steps, batch "
        f"{recipe.batch_size}, {recipe.optimizer}, learning rate {recipe.scaled_lr:g}, "
        f"{recipe.schedule}, {recipe.precision}",
        "device": device_of(config),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
