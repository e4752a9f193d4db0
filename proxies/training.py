"""Reduced training: a candidate, scaled down, is trained for a few epochs and judged.

It sees `train` only: it is trained on one part of it and judged on the hold-out.
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
from nas.errors import ConfigError, RunError
from nas.models.pretrained.initial import InitialWeights
from nas.models.pretrained.trials import trial_path
from nas.runs.folder import Run
from nas.training.settings import RecipeSettings
from proxies.base import Proxy
from proxies.settings import ProxySettings

if TYPE_CHECKING:
    from torch import nn

    from nas.data.batches import TrainBatches
    from nas.data.cache import PixelCache
    from nas.data.coco import Category, Split
    from nas.genome import Genome

MEASURED = 8
"""Batches of the short trial whose memory is measured."""

Build = Callable[..., "nn.Module"]
"""As `nas.build`: (genome, num_classes, drop_path=) to a model."""


def _check_rungs(recipe: RecipeSettings, last: int) -> None:
    """Refuses a schedule whose rates at a rung depend on how long the training will be."""
    if last >= recipe.epochs:
        raise ConfigError(
            f"stopping.rungs has {last}, and a trial ends after proxy.recipe.epochs = "
            f"{recipe.epochs}; take earlier rungs, or more epochs"
        )
    if recipe.augment_by_passes or (recipe.augment is not None and recipe.augment.mosaic):
        raise ConfigError(
            "stopping: augmentation before a rung depends on the number of epochs; write "
            "proxy.recipe.augment without mosaic instead of augment_by_passes"
        )
    decays = max(recipe.decay_before_end, default=0) if recipe.schedule == "step" else 0
    if recipe.schedule not in ("constant", "step") or recipe.epochs - decays < last:
        raise ConfigError(
            f"stopping: the rates of proxy.recipe.schedule {recipe.schedule!r} before rung {last} "
            "depend on the number of epochs; take schedule constant, or step with decays after it"
        )


@dataclass(frozen=True)
class _CachedSplit:
    split: Split
    cache: PixelCache
    decodable: Split  # the images of `split` that can be judged


class TrainingProxy(Proxy):
    """An evaluator for `nas.search`: trains a scaled-down candidate and judges the hold-out.

    The same candidate, seed and length give the same bits in any process of one numerics class.
    It can be pickled at any time; a copy opens the data for itself, once.

    Example:
        >>> proxy = TrainingProxy(ProxySettings(images=3000), Path("data/fod"))
        >>> proxy(genome, seed=1)["ap50"]

    Args:
        settings: of the trials.
        data: a COCO folder; None takes the built-in scenes.
        data_settings: of the hold-out and the cache.
        data_seed: draws the hold-out and the images.
        build: makes the model; None takes `nas.build`.
        rungs: epochs after which trials may be stopped; if there are any, a trial is judged and
            reports after every epoch.

    Raises:
        ConfigError: if an epoch of `rungs` isn't comparable between trainings of any length.
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
    """The names that a trial reports, so that an objective can be checked before any has run."""

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
            _check_rungs(self.settings.recipe, max(rungs))
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
            genome: as deployed; it is scaled down here.
            seed: of the first weights, the order of images and their augmentation.
            length: factor on the recipe's epochs.
            repeat: number of the evaluation, from 0; where the hold-out is small, each is
                scored on the next of its folds.

        Returns:
            ap, ap50, ap75 and ap_common of the hold-out in 0..1, by last or averaged weights;
            loss, the last epoch's mean; seconds as load_seconds, train_seconds, eval_seconds;
            proxy_params, of what was trained. What is not defined (NaN) is left out.

        Raises:
            FloatingPointError: the loss became infinite or no number; not a `NasError`, which
                would end the search, since only this candidate failed.
        """
        reports = self._reports(genome, seed, self.settings.trial_recipe(length), repeat)
        return reports if self.rungs else next(reports)

    def _reports(
        self, genome: Genome, seed: int, recipe: RecipeSettings, repeat: int
    ) -> Iterator[dict[str, float]]:
        """Trains, and yields metrics at the end; with rungs, after every epoch."""
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
        loaded = time.perf_counter() - started
        judged = 0.0
        try:
            for epoch in train(model, batches, recipe, seed=seed, device=self.device):
                if not (self.rungs or epoch.number == recipe.epochs):
                    continue
                judging = time.perf_counter()
                metrics = {**self._judge(model, holdout, recipe), "loss": epoch.loss}
                now = time.perf_counter()
                judged += now - judging
                if epoch.number == recipe.epochs:
                    self._keep(model, categories, genome, seed)
                yield {
                    **metrics,
                    "proxy_params": params,
                    "load_seconds": loaded,
                    "train_seconds": now - started - loaded - judged,
                    "eval_seconds": judged,
                    "seconds": now - started,
                }
        except NotFinite as error:
            raise FloatingPointError(str(error)) from None

    def _judge(
        self, model: nn.Module, holdout: _CachedSplit, recipe: RecipeSettings
    ) -> dict[str, float]:
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
        """Has trials keep their weights in the run's folder."""
        self.trials = Run(folder).trials.absolute()
        self.trials.mkdir(exist_ok=True)

    def prepare(self) -> None:
        """Reads the annotations, so that the first trial of a process isn't slower for it.

        Raises:
            RunError: the file that trials start from isn't here, or is another one by now.
        """
        self.splits()
        for file in self.starts.files:
            if InitialWeights.of_file(file.name, file.path).sha256 != file.sha256:
                raise RunError(f"{file.path}: has changed since the search began; restore it")

    def _keep(
        self, model: nn.Module, categories: tuple[Category, ...], genome: Genome, seed: int
    ) -> None:
        """Writes what a finished trial ends with, as a trained model that can be used."""
        from nas.models.detector import Detector
        from nas.training.weights import TrainedModel

        if self.trials is not None and isinstance(model, Detector):
            record = {"seed": seed, "recipe": self.settings.recipe.base, "trial": True}
            trained = TrainedModel(model, categories, record)
            trained.save(trial_path(self.trials, genome.key, seed))

    def describe(self) -> dict[str, Any]:
        """Returns what a result depends on besides candidate, seed and numerics, for JSON."""
        fit, holdout = self.splits()
        settings = self.settings.model_dump(mode="json")
        settings["recipe"] = self.settings.recipe.record()
        if settings["scale"]["input_factor"] is None:
            del settings["scale"]["input_factor"]  # runs from before there was one go on
        identity: dict[str, Any] = {
            "settings": settings,
            "fit": fit.fingerprint,
            "holdout": holdout.fingerprint,
        }
        if init := self.starts.identity:  # a run from before there was any goes on
            identity["init"] = init
        folds = self.folds()
        return identity | ({"folds": folds} if folds > 1 else {})

    @property
    def numerics(self) -> str:
        """The class within which metrics are bit-equal."""
        from nas.training.numerics import numerics_class

        recipe = self.settings.trial_recipe()
        return numerics_class(recipe.threads, recipe.precision, self.device)

    def splits(self, repeat: int = 0) -> tuple[Split, Split]:
        """Returns the training part, cut to the number of images, and the hold-out.

        Args:
            repeat: number of the evaluation that they are for, from 0.

        Raises:
            DataError: trials can't be trained on the one, or judged on the other.
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
        """Returns how many hold-outs repeats of a trial go round; 1 where it is large enough."""
        from nas.data.holdout import fold_count

        return fold_count(self._train(), self.data_settings)

    def _train(self) -> Split:
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
        if self._build is not None:
            return self._build(genome, num_classes, drop_path=recipe.drop_path)
        from nas.models.detector import build

        return build(genome, num_classes, drop_path=recipe.drop_path)

    def _batches(self, fit: _CachedSplit, recipe: RecipeSettings, seed: int) -> TrainBatches:
        from nas.training.batches import recipe_batches

        return recipe_batches(recipe, fit.cache, fit.split, seed)

    def _open(
        self, size: int, rule: Literal["letterbox", "stretch"], repeat: int = 0
    ) -> tuple[_CachedSplit, _CachedSplit]:
        """Returns both parts with their pixels at an input size, kept for the next trial."""
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
        """Returns the sides of the pixels cached for the training part and for the hold-out."""
        return size * self.settings.recipe.oversample, size

    def plan(self) -> dict[str, str]:
        """Returns the images, and what a trial does with them."""
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
        """Returns a proxy of one epoch of few batches; its memory is a whole trial's."""
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
        """Refuses parts that trials can't be trained or judged on.

        Args:
            splits: the training part and the hold-out, or what can be decoded of them.

        Raises:
            DataError: names what is lacking.
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
