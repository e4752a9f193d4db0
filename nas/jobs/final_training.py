"""The final training, once nothing is left to refuse: epochs, the judgement on `val`, the model."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.config.run_config import keep_config
from nas.config.run_data import keep_data
from nas.config.run_start import trained_genome
from nas.config.schema import TrainConfig
from nas.data.batches import TrainBatches
from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.rules import lacking_to_judge, refuse
from nas.environment import cores
from nas.errors import RunError
from nas.evaluation.coco import evaluate
from nas.evaluation.metrics import Metrics
from nas.evaluation.predict import predict_split
from nas.executors.launch_training import Tell, train_together
from nas.files import write_text
from nas.genome import Genome
from nas.models import Detector, build
from nas.models.pretrained.initial import SCRATCH, InitialWeights, keep_start
from nas.models.pretrained.loading import first_model
from nas.planning.train_needs import dry_run as look_ahead
from nas.planning.train_plan import check_device, device_of, show_plan
from nas.planning.train_probe import PlannedTraining
from nas.runs.folder import Run
from nas.training.batches import recipe_batches
from nas.training.checkpoint import Checkpoints
from nas.training.distributed import Workers
from nas.training.loop import Epoch
from nas.training.loop import train as train_epochs
from nas.training.weights import TrainedModel
from nas.ui.console import console, progress_bar
from nas.ui.contact_sheet import write_png
from nas.ui.data_loading import data_folder, pixels
from nas.ui.metric_tables import numbers_table
from nas.ui.samples import found_on, learnt_from
from nas.ui.tensorboard import Board
from nas.ui.train_progress import Follow

PREFETCH = 2
"""Batches that are prepared at once while another is trained on, where each is decoded anew."""


def train_and_judge(
    config: TrainConfig,
    genome: Genome,
    split: Split,
    val: Split,
    weights: InitialWeights | None,
    folder: Path,
    *,
    dry_run: bool,
) -> TrainedModel | None:
    """Trains to the end, judges the model on `val` and writes it.

    Args:
        config: all settings.
        genome: what is trained.
        split: `train`.
        val: the validation images, which are read once, at the end.
        weights: what the training starts from; None for scratch.
        folder: of the run.
        dry_run: shows the plan, tries one micro-batch, says what all would take; writes nothing.

    Raises:
        NasError: one line that names the setting to change.
    """
    show_plan(config, genome, split, val)
    model = _first_model(config, genome, split, weights, begun=Run(folder).begun)
    board = Board(Run(folder).tensorboard, enabled=config.tensorboard)
    if dry_run:
        look_ahead(PlannedTraining(model, config, split, val, folder, config.compute.workers))
        return None
    check_device(config)
    run = Run.make(folder)
    keep = keep_config(run, config)
    keep_data(run, config, split)
    if not run.begun:
        keep_start(run.start, config.init, weights)
    run.record_environment()
    judgeable = _judgeable(model, val, config)  # what can't be judged is refused first
    with board:
        steps = _train(model, config, split, run, board, weights)
        keep()
        write_text(run.genome, genome.to_json(indent=1) + "\n")
        metrics, drawn = _judged(model, val, *judgeable, config)
        write_png(drawn, run.samples / "val.png")
        board.judged(metrics, drawn, steps)
    record = {
        "seed": config.seed,
        "data": split.fingerprint,
        "recipe": config.recipe.base,
        "init": weights.identity if weights else SCRATCH,
    }
    trained = TrainedModel(
        model,
        split.categories,
        {**record, "val": metrics.to_dict(), "epochs": config.recipe.epochs},
    )
    trained.save(run.weights)
    write_text(run.path / "metrics.json", json.dumps(metrics.to_dict(), indent=1) + "\n")
    console.print(
        numbers_table(metrics, f"{genome.name or 'model'} on val, {len(judgeable[1])} images")
    )
    place = shlex.quote(str(config.data_dir)) if config.data_dir else "DIR"
    final = shlex.quote(str(run.path))
    console.print(
        f"the trained model is {run.weights}",
        f"next: nas eval {final} --data {place}    nas predict {final} IMAGE…    "
        f"nas export {final} --format json,onnx",
    )
    return trained


def _first_model(
    config: TrainConfig,
    genome: Genome,
    split: Split,
    weights: InitialWeights | None = None,
    *,
    begun: bool = False,
) -> Detector:
    """Returns the model before its first step: first weights of the seed, or a file's.

    A training that has begun goes on from its checkpoint, and needs that file no more.
    """
    classes, drop_path = 1 + len(split.categories), config.recipe.drop_path
    try:
        model, loaded = first_model(
            lambda: build(genome, classes, drop_path=drop_path),
            config.seed,
            None if begun else weights,
        )
    except RunError as error:
        raise RunError(f"--init {error}") from None
    if loaded is not None:
        console.print(f"--init {config.init}: {loaded}")
    return model


def _train(
    model: Detector,
    config: TrainConfig,
    split: Split,
    run: Run,
    board: Board,
    weights: InitialWeights | None,
) -> int:
    """Trains to the end, and returns the number of updates."""
    recipe = config.recipe
    batches = _batches(model, config, split, Workers())
    if not run.metrics.is_file():
        drawn = learnt_from(next(batches.epoch(0)), split.categories)
        write_png(drawn, run.samples / "train.png")
        board.picture("train", drawn, 0)
    with progress_bar() as bar:
        follow = Follow(bar, run, board, recipe.epochs, len(batches), recipe.batch_size)
        if config.compute.workers > 1:
            # What is left is the end of the last epoch.
            _train_together(config, run, follow, weights)
        for epoch in train_epochs(
            model,
            batches,
            recipe,
            seed=config.seed,
            device=device_of(config),
            checkpoints=_checkpoints(model, config, split, run, weights),
            incidents=run.path / "not_finite",
            on_step=follow.step,
        ):
            follow.epoch(epoch)
    model.cpu().float().eval()
    return recipe.epochs * len(batches)


def _batches(model: Detector, config: TrainConfig, split: Split, workers: Workers) -> TrainBatches:
    source = model.genome.input
    return recipe_batches(
        config.recipe,
        pixels(split, source.size * config.recipe.oversample, source.resize, config.data),
        split,
        config.seed,
        workers=_prefetching(config, workers),
        share=(workers.rank, workers.count),
    )


def _prefetching(config: TrainConfig, workers: Workers) -> int:
    """Returns how many threads prepare batches.

    A GPU's step is shorter than a large batch's augmentation.
    """
    if device_of(config) == "cuda":
        return min(8, cores() // workers.count)
    return PREFETCH if config.data.pixels == "decode" else 0


def _checkpoints(
    model: Detector,
    config: TrainConfig,
    split: Split,
    run: Run,
    weights: InitialWeights | None,
) -> Checkpoints:
    identity: dict[str, Any] = {
        "genome": model.genome.key,
        "recipe": config.recipe.model_dump(mode="json", exclude={"checkpoint_minutes"}),
        "data": split.fingerprint,
        "seed": config.seed,
    }
    if weights is not None:
        identity["init"] = weights.identity
    return Checkpoints(run.checkpoints, identity)


def _train_together(
    config: TrainConfig, run: Run, follow: Follow, weights: InitialWeights | None
) -> None:
    """Trains in several processes, as far as the last checkpoint."""
    gpus = config.compute.gpus
    if config.compute.gpus_per_worker == "auto":
        gpus = float(device_of(config) == "cuda")
    if not gpus:
        note = "on processors each worker's batch norms see its own share of a batch"
        console.print(f"{config.compute.workers} workers: {note}")

    def hear(message: Epoch | tuple[int, float, float]) -> None:
        if isinstance(message, Epoch):
            follow.epoch(message)
        else:
            follow.step(*message)

    work = partial(_work, config, Run(run.path.absolute()), weights)
    train_together(work, config.compute, hear, gpus=gpus, threads=config.recipe.threads)


def _work(
    config: TrainConfig,
    run: Run,
    weights: InitialWeights | None,
    rank: int,
    count: int,
    device: torch.device,
    tell: Tell,
) -> None:
    """Trains on a share of every batch: what each of several processes does."""
    workers = Workers(rank, count)
    split = load_split(data_folder(config.data_dir, config.data), "train")
    model = _first_model(config, trained_genome(config), split, weights, begun=run.begun)
    for epoch in train_epochs(
        model,
        _batches(model, config, split, workers),
        config.recipe,
        seed=config.seed,
        device=device,
        checkpoints=_checkpoints(model, config, split, run, weights),
        incidents=run.path / "not_finite",
        on_step=lambda *step: tell(step),
        workers=workers,
    ):
        tell(epoch)


def _judgeable(model: Detector, val: Split, config: TrainConfig) -> tuple[PixelCache, Split]:
    """Returns the pixels of `val`, and those of its images that can be decoded.

    Raises:
        DataError: they have no box.
    """
    source = model.genome.input
    cache = pixels(val, source.size, source.resize, config.data)
    judged = cache.decodable(val)
    refuse(lacking_to_judge(judged))
    return cache, judged


def _judged(
    model: Detector, val: Split, cache: PixelCache, judged: Split, config: TrainConfig
) -> tuple[Metrics, np.ndarray]:
    """Returns the numbers on what of `val` can be decoded, and a picture with detections."""
    with console.status("judging on val"):
        detections = predict_split(
            model, cache, val, config.recipe.batch_size, device=device_of(config)
        )
        return evaluate(judged, detections), found_on(judged, detections)
