"""One micro-batch through everything: what a training takes of memory and time.

Nothing is written: images of a sample are decoded in memory, and the model learns for a moment.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas import environment
from nas.config.schema import TrainConfig
from nas.data.batches import Batch
from nas.data.cache import refuse_if_none
from nas.data.coco import Split
from nas.data.decoding import DecodedPixels, decodable, is_cached
from nas.errors import ConfigError
from nas.models import Detector
from nas.planning.train_plan import device_of, epoch_steps
from nas.training.batches import recipe_batches
from nas.training.loop import train as train_epochs
from nas.training.memory import StateBytes, activation_bytes, peak, reset_peak, state_bytes
from nas.training.schedule import learning_rate
from nas.training.settings import RecipeSettings

GB = 1e9
SAMPLE = 16
"""Images decoded to see how long that takes, at least."""
PATIENCE = 10.0
"""Seconds: if the first update takes less, two more are timed in its place."""
ON_PROCESSOR = 2
"""Images of a micro-batch on a processor: more at once are no faster for each."""
USED = 0.7
"""Share of the room that a micro-batch may fill by count; losses and kernels need the rest."""


@dataclass(frozen=True)
class PlannedTraining:
    """A training that hasn't begun.

    Attributes:
        model: before its first step.
        split: what it is trained on.
        val: what it is judged on.
        folder: of the run; needn't be there.
        processes: that share each batch.
    """

    model: Detector
    config: TrainConfig
    split: Split
    val: Split
    folder: Path
    processes: int = 1

    @property
    def recipe(self) -> RecipeSettings:
        """Returns all numbers of the training."""
        return self.config.recipe

    @property
    def device(self) -> torch.device:
        """Returns where it runs."""
        return torch.device(device_of(self.config))

    @property
    def share(self) -> int:
        """Returns how many images of a batch a process trains on."""
        return max(1, self.recipe.batch_size // self.processes)

    @property
    def at_once(self) -> int:
        """Returns how many images a process holds at once."""
        return min(self.share, self.recipe.micro_batch or self.share)

    @property
    def steps(self) -> int:
        """Returns the updates of an epoch."""
        return epoch_steps(self.split, self.recipe)

    @property
    def state(self) -> StateBytes:
        """Returns the bytes that don't depend on the batch."""
        return state_bytes(self.model, self.recipe)

    @property
    def uncached(self) -> list[Split]:
        """Returns the parts whose pixels aren't in the cache yet."""
        data = self.config.data
        if data.pixels == "decode":
            return []
        size, rule = self.model.genome.input.size, self.model.genome.input.resize
        sides = {self.split: size * self.recipe.oversample, self.val: size}
        return [part for part, side in sides.items() if not is_cached(part, side, rule, data)]


@dataclass(frozen=True)
class Probe:
    """Measurements of one micro-batch.

    Attributes:
        images: of the micro-batch.
        updates: how many were timed.
        update: seconds of one: forward, backward and update.
        decode: seconds of an image, as many at once as for a cache.
        augment: seconds of an image.
        detect: seconds of an image, without a trained model's many boxes.
        before: bytes in use when it began.
        peak: most bytes in use while it ran.
        activations: bytes of an image among these.
        room: bytes that the training can have, what is taken already included.
    """

    images: int
    updates: int
    update: float
    decode: float
    augment: float
    detect: float
    before: int
    peak: int
    activations: float
    room: int

    def memory(self, images: int) -> float:
        """Returns the bytes of so many images at once, of which activations grow with them."""
        return self.peak + self.activations * (images - self.images)


def measure(training: PlannedTraining) -> Probe:
    """Sends a micro-batch of the training part through everything, on the training's device.

    Raises:
        ConfigError: the micro-batch, or not even two images, don't fit into memory.
    """
    device, state = training.device, training.state
    spare = _spare(device)
    batch, decode, augment = _micro_batch(training, _fitting(training, spare))
    before = reset_peak(device)
    try:
        seconds = _updates(training, batch)
    except torch.OutOfMemoryError:
        raise ConfigError(
            f"{len(batch.images)} images at once don't fit into the device's {spare / GB:.1f} GB: "
            "set a smaller recipe.micro_batch"
        ) from None
    most = peak(device)
    fixed = state.gradients + state.moments + state.average
    fixed += state.weights if device.type == "cuda" else 0  # a processor has them already
    return Probe(
        images=len(batch.images),
        updates=len(seconds),
        update=statistics.median(seconds[1:] or seconds),
        decode=decode,
        augment=augment,
        detect=_detection(training.model, batch, device),
        before=before,
        peak=most,
        activations=max(0, most - before - fixed) / len(batch.images),
        room=spare + before,
    )


def _spare(device: torch.device) -> int:
    """Returns the bytes that are free on the device or else in the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return environment.free_memory_bytes()


def _fitting(training: PlannedTraining, spare: int) -> int:
    """Returns the images of the micro-batch: as many as the training holds at once, if they fit."""
    model, state = training.model, training.state
    bytes_each = {"bf16": 2, "fp16": 2, "fp64": 8}.get(training.recipe.precision, 4)
    each = activation_bytes(model.genome, model.num_classes, 2) / 2 * bytes_each / 4
    state_needs = state.kept + state.gradients
    if state_needs + 2 * each > spare:
        raise ConfigError(
            f"2 images at once need {(state_needs + 2 * each) / GB:.1f} GB of memory, and "
            f"{spare / GB:.1f} GB can be had: take a smaller scale.input_size or scale.width, or "
            "a larger machine"
        )
    images = training.at_once if training.device.type == "cuda" else ON_PROCESSOR
    fit = int(USED * (spare - state_needs) / max(each, 1))
    return max(2, min(images, training.at_once, fit))


def _micro_batch(training: PlannedTraining, images: int) -> tuple[Batch, float, float]:
    """Returns a batch as the training would see it, and seconds to decode and augment an image."""
    source = training.model.genome.input
    boxed = np.flatnonzero([not image.crowd.all() for image in training.split.images])
    count = max(SAMPLE, images)
    chosen = boxed[np.linspace(0, len(boxed) - 1, count).astype(int)]
    usable = decodable([training.split.images[place] for place in chosen])
    refuse_if_none(training.split.part("dry run", chosen), usable)
    sample = training.split.part("dry run", np.resize(chosen[usable], count))
    pixels = DecodedPixels.of(sample, source.size * training.recipe.oversample, source.resize)
    started = time.perf_counter()
    pixels.read(np.arange(count))
    decode = (time.perf_counter() - started) / count
    batches = recipe_batches(
        training.recipe, pixels, sample, training.config.seed, batch_size=images
    )
    started = time.perf_counter()
    batch = next(batches.epoch(0))
    spent = (time.perf_counter() - started) / len(batch.images)
    return batch, decode, max(0.0, spent - decode)


class _Repeated:
    """One micro-batch, given again and again, and how long each update took."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self.batch, self.device = batch, device
        self.started, self.seconds = 0.0, list[float]()

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int, start_step: int = 0) -> Iterator[Batch]:
        """Yields the micro-batch."""
        self.started = time.perf_counter()
        yield self.batch

    def note(self, step: int, lr: float, loss: float) -> None:
        """Notes the seconds of an update."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds.append(time.perf_counter() - self.started)


def _updates(training: PlannedTraining, batch: Batch) -> list[float]:
    """Returns the seconds of each update; the first one also warms up."""
    recipe, repeated = training.recipe, _Repeated(batch, training.device)
    changes = {
        "epochs": 3,
        "batch_size": len(batch.images),
        "lr_batch": None,
        "lr": max(learning_rate(recipe, 0, training.steps), recipe.scaled_lr / 1000),
        "schedule": "constant",
        "warmup_steps": 0,
        "bn_batches": 0,
    }
    for _ in train_epochs(
        training.model,
        repeated,
        recipe.model_copy(update=changes),
        seed=training.config.seed,
        device=training.device,
        on_step=repeated.note,
    ):
        if repeated.seconds[0] > PATIENCE:
            break
    return repeated.seconds


def _detection(model: Detector, batch: Batch, device: torch.device) -> float:
    model.eval()
    started = time.perf_counter()
    model.detect(batch.images.to(device))
    return (time.perf_counter() - started) / len(batch.images)
