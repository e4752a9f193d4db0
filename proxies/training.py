"""Reduced training: a candidate, scaled down, is trained for a few epochs and evaluated.

It uses the split `train` alone: it is trained on one part of it and evaluated on the hold-out.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nas.data.settings import DataSettings
from nas.errors import RunError
from nas.models.pretrained.initial import InitialWeights
from nas.models.pretrained.trials import trial_path
from nas.runs.folder import Run
from nas.training.settings import RecipeSettings
from proxies.base import Proxy
from proxies.rungs import check_rungs
from proxies.settings import ProxySettings

if TYPE_CHECKING:
    from torch import nn

    from nas.data.batches import TrainBatches
    from nas.data.cache import PixelCache
    from nas.data.coco import Category, Split
    from nas.genome import Genome

MEASURED = 8
"""The number of batches of the short trial whose memory is measured."""

Build = Callable[..., "nn.Module"]
"""A function like `nas.build`, of (genome, num_classes, drop_path=), that returns a model."""


@dataclass(frozen=True)
class _CachedSplit:
    """A split with its pixels at one input size."""

    split: Split
    cache: PixelCache
    decodable: Split  # those images of `split` whose pixels can be read


class TrainingProxy(Proxy):
    """An evaluator for `nas.search`: trains a scaled-down candidate and scores it on the hold-out.

    The same candidate, seed and length give the same bits in any process of one numerics class.
    It can be pickled at any time; a copy opens the data again, once.

    Example:
        >>> proxy = TrainingProxy(ProxySettings(images=3000), Path("data/fod"))
        >>> proxy(genome, seed=1)["ap50"]

    Args:
        settings: Of the trials.
        data: A COCO folder; None takes the built-in scenes.
        data_settings: Of the hold-out and the cache.
        data_seed: Draws the hold-out and the images.
        device: The device that trials run on, "cpu" or "cuda".
        build: Makes the model; None takes `nas.build`.
        rungs: Epochs after which trials may be stopped; if there are any, a trial is evaluated and
            reports after every epoch.

    Raises:
        ConfigError: if trainings of different lengths can't be compared at a rung.
    """

    settings_type = ProxySettings
    settings: ProxySettings
    metrics: ClassVar[tuple[str, ...]] = (
        "ap",
        "ap50",
        "ap75",
        "ap_common",
        "loss",
        "proxy_params",
        "load_seconds",
        "train_seconds",
        "eval_seconds",
        "seconds",
    )

    def __init__(
        self,
        settings: ProxySettings | None = None,
        data: Path | str | None = None,
        data_settings: DataSettings | None = None,
        *,
        data_seed: int = 0,
        device: str = "cpu",
        build: Build | None = None,
        rungs: Sequence[int] = (),
    ) -> None:
        super().__init__(
            settings, data, data_settings, data_seed=data_seed, device=device, rungs=rungs
        )
        if rungs:
            check_rungs(self.settings.recipe, max(rungs))
        self._build = build
        self.trials: Path | None = None
        self._split: Split | None = None
        self._splits: dict[int, tuple[Split, Split]] = {}
        self._parts: dict[tuple[int, str, str], tuple[_CachedSplit, _CachedSplit]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_split": None, "_splits": {}, "_parts": {}}

    def __call__(self, genome: Genome, seed: int, length: float = 1, repeat: int = 0) -> Any:
        """Scores a candidate; with rungs, an iterator yields its metrics after every epoch.

        Args:
            genome: The candidate as deployed; it is scaled down here.
            seed: Of the first weights, the order of images and their augmentation.
            length: Factor on the recipe's epochs.
            repeat: Number of the candidate's evaluation, from 0; where the hold-out is small, each
                is scored on the next of its folds.

        Returns:
            Metrics by name: ap, ap50, ap75 and ap_common of the hold-out in 0..1, by last or
            averaged weights; loss, the last epoch's mean; seconds, and their parts load_seconds,
            train_seconds, eval_seconds; proxy_params, of the scaled network. An undefined (NaN) one
            is left out.

        Raises:
            FloatingPointError: if the loss became infinite or NaN; not a `NasError`, which would
                end the search, since only this candidate failed.
        """
        reports = self._reports(genome, seed, self.settings.trial_recipe(length), repeat)
        return reports if self.rungs else next(reports)

    def _reports(
        self, genome: Genome, seed: int, recipe: RecipeSettings, repeat: int
    ) -> Iterator[dict[str, float]]:
        """Trains, and yields metrics at the end; with rungs, after every epoch.

        Args:
            genome: The candidate as deployed.
            seed: See `__call__`.
            recipe: With the trial's number of epochs.
            repeat: See `__call__`.

        Raises:
            FloatingPointError: if the loss became infinite or NaN.
        """
        from nas.models.pretrained.loading import first_model
        from nas.training.loop import train
        from nas.training.numerics import set_numerics
        from nas.training.step import NotFinite

        set_numerics(recipe.threads)
        started = time.perf_counter()
        small = self.scaled(genome)
        fit, holdout = self._open(small.input.size, small.input.resize, repeat)
        categories = fit.split.categories
        model, _ = first_model(
            lambda: self._make(small, 1 + len(categories), recipe), seed, self.starts.of(small)
        )
        batches = self._batches(fit, recipe, seed)
        params = float(sum(weight.numel() for weight in model.parameters()))
        load_seconds = time.perf_counter() - started
        eval_seconds = 0.0
        try:
            for epoch in train(model, batches, recipe, seed=seed, device=self.device):
                if not (self.rungs or epoch.number == recipe.epochs):
                    continue
                trained = time.perf_counter()
                metrics = {**self._evaluate(model, holdout, recipe), "loss": epoch.loss}
                now = time.perf_counter()
                eval_seconds += now - trained
                if epoch.number == recipe.epochs:
                    self._keep(model, categories, genome, seed)
                yield {
                    **metrics,
                    "proxy_params": params,
                    "load_seconds": load_seconds,
                    "train_seconds": now - started - load_seconds - eval_seconds,
                    "eval_seconds": eval_seconds,
                    "seconds": now - started,
                }
        except NotFinite as error:
            raise FloatingPointError(str(error)) from None

    def _evaluate(
        self, model: nn.Module, holdout: _CachedSplit, recipe: RecipeSettings
    ) -> dict[str, float]:
        """Returns the average precisions of a model on the hold-out that are defined."""
        from nas.evaluation.coco import evaluate
        from nas.evaluation.predict import predict_split
        from nas.training.numerics import autocast_dtype

        detections = predict_split(
            model,
            holdout.cache,
            holdout.split,
            recipe.batch_size,
            device=self.device,
            precision=autocast_dtype(recipe.precision),
        )
        scores = evaluate(holdout.decodable, detections, quick=True)
        metrics = {
            "ap": scores.ap,
            "ap50": scores.ap50,
            "ap75": scores.ap75,
            "ap_common": scores.ap_common,
        }
        return {name: value for name, value in metrics.items() if not math.isnan(value)}

    def prepare_search(self, folder: Path) -> None:
        """Makes the folder of the run in which trials keep their weights."""
        self.trials = Run(folder).trials.absolute()
        self.trials.mkdir(exist_ok=True)

    def prepare(self) -> None:
        """Reads the annotations, so that the first trial of a process isn't slower for it.

        Raises:
            RunError: if a file that trials start from isn't here, or has changed.
        """
        self.splits()
        for file in self.starts.files:
            if InitialWeights.of_file(file.name, file.path).sha256 != file.sha256:
                raise RunError(f"{file.path}: has changed since the search began; restore it")

    def _keep(
        self, model: nn.Module, categories: tuple[Category, ...], genome: Genome, seed: int
    ) -> None:
        """Writes a finished trial's weights as a trained model, if the run keeps them."""
        from nas.models.detector import Detector
        from nas.training.weights import TrainedModel

        if self.trials is not None and isinstance(model, Detector):
            record = {"seed": seed, "recipe": self.settings.recipe.base, "trial": True}
            trained = TrainedModel(model, categories, record)
            trained.save(trial_path(self.trials, genome.key, seed))

    def describe(self) -> dict[str, Any]:
        """Returns settings, data and start, which a result depends on, as JSON values."""
        fit, holdout = self.splits()
        settings = self.settings.model_dump(mode="json")
        settings["recipe"] = self.settings.recipe.record()
        if settings["scale"]["input_factor"] is None:
            del settings["scale"][
                "input_factor"
            ]  # so that older runs go on, which have no such field
        identity: dict[str, Any] = {
            "settings": settings,
            "fit": fit.fingerprint,
            "holdout": holdout.fingerprint,
        }
        if init := self.starts.identity:  # absent from scratch, so that older runs go on
            identity["init"] = init
        folds = self.folds()
        return identity | ({"folds": folds} if folds > 1 else {})

    @property
    def numerics(self) -> str:
        """The numerics class, within which metrics are bit-equal."""
        from nas.training.numerics import numerics_class

        recipe = self.settings.trial_recipe()
        return numerics_class(recipe.threads, recipe.precision, self.device)

    def splits(self, repeat: int = 0) -> tuple[Split, Split]:
        """Returns the training part, cut to the number of images, and the hold-out.

        Args:
            repeat: Number of the evaluation that they are for, from 0.

        Raises:
            DataError: if trials can't be trained on the one, or evaluated on the other.
        """
        from nas.data import holdout as rule

        fold = repeat % self.folds()
        if fold not in self._splits:
            fit, holdout = rule.holdout(self._train(), self.data_settings, self.data_seed, fold)
            fit = rule.subset(fit, self.settings.images, self.data_seed)
            self.refuse_lacking(fit, holdout)
            self._splits[fold] = fit, holdout
        return self._splits[fold]

    def folds(self) -> int:
        """Returns the number of folds that repeats go round; 1 if the hold-out is large enough."""
        from nas.data.holdout import fold_count

        return fold_count(self._train(), self.data_settings)

    def _train(self) -> Split:
        """Returns the split `train`, read once in a process."""
        if self._split is None:
            from nas.data.coco import load_split
            from nas.data.scenes import scenes_folder

            self._split = load_split(self.data or scenes_folder(self.data_settings), "train")
        return self._split

    def scaled(self, genome: Genome) -> Genome:
        """Returns the candidate as it is trained: smaller, with the recipe's activation."""
        recipe = self.settings.recipe
        small = genome.scaled(**self.settings.scale.model_dump())
        return small.with_activation(recipe.activation) if recipe.activation else small

    def _make(self, genome: Genome, num_classes: int, recipe: RecipeSettings) -> nn.Module:
        """Makes the model of a scaled genome, whose classes count the background."""
        if self._build is not None:
            return self._build(genome, num_classes, drop_path=recipe.drop_path)
        from nas.models.detector import build

        return build(genome, num_classes, drop_path=recipe.drop_path)

    def _batches(self, fit: _CachedSplit, recipe: RecipeSettings, seed: int) -> TrainBatches:
        """Returns the batches of a trial's training."""
        from nas.training.batches import recipe_batches

        return recipe_batches(recipe, fit.cache, fit.split, seed)

    def _open(
        self, size: int, rule: Literal["letterbox", "stretch"], repeat: int = 0
    ) -> tuple[_CachedSplit, _CachedSplit]:
        """Returns both parts with their pixels, kept for the next trial of this process.

        Args:
            size: Side of the network's input.
            rule: Its resizing.
            repeat: Number of the evaluation, which chooses the fold.
        """
        splits = self.splits(repeat)
        key = (size, rule, splits[1].fingerprint)
        if key not in self._parts:
            from nas.data.decoding import open_pixels

            fit, holdout = (
                _CachedSplit(split, cache, cache.decodable(split))
                for split, cache in (
                    (split, open_pixels(split, side, rule, self.data_settings))
                    for split, side in zip(splits, self.pixel_sides(size), strict=True)
                )
            )
            self.refuse_lacking(fit.decodable, holdout.decodable)
            self._parts[key] = fit, holdout
        return self._parts[key]

    def pixel_sides(self, size: int) -> tuple[int, int]:
        """Returns the sides at which pixels of the training part and of the hold-out are cached."""
        return size * self.settings.recipe.oversample, size

    def plan(self) -> dict[str, str]:
        """Returns the lines of a dry run on the start, the images and a trial's length."""
        fit, holdout = self.splits()
        recipe = self.settings.trial_recipe()
        return {
            "start": str(self.starts),
            "images": f"{len(fit)} to train on, {len(holdout)} held out to score trials, "
            f"{len(fit.categories)} classes",
            "one trial": f"{recipe.epochs} epochs of {len(fit)} images, "
            f"{recipe.epochs * len(fit) // recipe.batch_size} steps",
        }

    def shortened(self) -> TrainingProxy:
        """Returns a proxy of one epoch of few batches, which needs a whole trial's memory."""
        recipe = self.settings.trial_recipe(0)  # one epoch
        images = min(MEASURED * recipe.batch_size, self.settings.images or sys.maxsize)
        return TrainingProxy(
            self.settings.model_copy(update={"recipe": recipe, "images": images}),
            self.data,
            self.data_settings,
            data_seed=self.data_seed,
            device=self.device,
        )

    def refuse_lacking(self, *splits: Split) -> None:
        """Refuses parts that trials can't be trained or evaluated on.

        Args:
            splits: The training part and the hold-out, or their images that can be decoded.

        Raises:
            DataError: if something is lacking; the message names it.
        """
        from nas.data.rules import lacking_to_search, refuse
        from nas.training.requirements import least_images

        fit, holdout = splits
        recipe = self.settings.recipe
        refuse(
            lacking_to_search(
                fit, holdout, empty_images=recipe.empty_images, least=least_images(recipe)
            )
        )
