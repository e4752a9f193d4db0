from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.data.settings import DataSettings
from nas.errors import ConfigError, NasError
from nas.training.recipes import resolve
from proxies.settings import ProxySettings
from proxies.training import TrainingProxy
from tests.training.tiny import TinyDetector

SETTINGS = ProxySettings.model_validate(
    {
        "images": 24,
        "recipe": {"base": "short", "epochs": 2, "batch_size": 8, "lr": 0.01},
        "scale": {"width": 0.5, "input_size": 64},
    }
)


@dataclass(frozen=True)
class TinyGenome:
    """As much of a genome as a proxy asks for."""

    width: int = 16
    input: Any = field(default_factory=lambda: SimpleNamespace(size=256, resize="letterbox"))

    def scaled(self, width: float, input_size: int | None, **_: Any) -> TinyGenome:
        assert input_size is not None
        smaller = SimpleNamespace(size=input_size, resize=self.input.resize)
        return replace(self, width=int(self.width * width), input=smaller)


TINY: Any = TinyGenome()


def build(genome: TinyGenome, num_classes: int, drop_path: float = 0.0) -> TinyDetector:
    return TinyDetector(num_classes, width=genome.width)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingProxy]:
    data = DataSettings(scene_images=60, holdout=0.3, cache_dir=tmp_path_factory.mktemp("cache"))
    threads = torch.get_num_threads()
    yield TrainingProxy(SETTINGS, data_settings=data, build=build)
    torch.set_num_threads(threads)


def results(metrics: dict[str, float]) -> dict[str, float]:
    """What must not depend on the process: everything but times."""
    return {name: value for name, value in metrics.items() if not name.endswith("seconds")}


def test_gives_scores_losses_and_times(proxy: TrainingProxy) -> None:
    metrics = proxy(TINY, seed=1)
    assert metrics.keys() >= {"ap", "ap50", "ap75", "loss", "seconds", "train_seconds"}
    assert metrics.keys() <= set(TrainingProxy.metrics)
    assert 0 <= metrics["ap"] <= metrics["ap50"] <= 1
    parts = [metrics[f"{part}_seconds"] for part in ("load", "train", "eval")]
    assert sum(parts) == pytest.approx(metrics["seconds"])
    narrow = TinyDetector(num_classes=4, width=8)  # three kinds of shapes, half of 16 wide
    assert metrics["proxy_params"] == sum(weight.numel() for weight in narrow.parameters())


def test_seeds_matter_and_equal_ones_give_equal_bits(proxy: TrainingProxy) -> None:
    first = results(proxy(TINY, seed=1))
    torch.rand(3)
    assert results(proxy(TINY, seed=1)) == first
    assert results(proxy(TINY, seed=2)) != first


def test_another_process_gives_the_same_bits(proxy: TrainingProxy) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = pool.submit(proxy, TINY, 7).result(timeout=120)
    assert results(elsewhere) == results(proxy(TINY, seed=7))


def test_a_pickle_holds_settings_but_no_data(proxy: TrainingProxy) -> None:
    proxy.prepare()
    assert len(pickle.dumps(proxy)) < 5000


def test_length_multiplies_the_epochs(proxy: TrainingProxy) -> None:
    assert proxy.settings.trial_recipe(length=3).epochs == 6
    longer = proxy(TINY, seed=1, length=3)
    assert longer["loss"] < proxy(TINY, seed=1)["loss"]


def test_the_trial_is_described_as_json(proxy: TrainingProxy) -> None:
    described = json.loads(json.dumps(proxy.describe()))
    assert described["settings"]["recipe"]["epochs"] == 2
    assert "input_factor" not in described["settings"]["scale"]  # unused, as before there was one
    other = TrainingProxy(SETTINGS, data_settings=proxy.data_settings, data_seed=1)
    assert other.describe()["holdout"] != described["holdout"]
    assert proxy.numerics.startswith("cpu-") and "-t1-fp32-torch" in proxy.numerics


def test_threads_and_precision_of_the_proxy_go_before_the_recipes() -> None:
    settings = ProxySettings.model_validate({"recipe": "short", "threads": 2, "precision": "bf16"})
    recipe = settings.trial_recipe()
    assert (recipe.threads, recipe.precision, recipe.base) == (2, "bf16", "short")


def test_a_candidate_that_diverges_fails_without_ending_the_search(proxy: TrainingProxy) -> None:
    class Diverging(TinyDetector):
        def losses(
            self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
        ) -> dict[str, Tensor]:
            losses = super().losses(images, boxes, labels)
            return {name: loss * math.inf for name, loss in losses.items()}

    diverging = TrainingProxy(
        SETTINGS,
        data_settings=proxy.data_settings,
        build=lambda genome, num_classes, drop_path: Diverging(num_classes),
    )
    with pytest.raises(FloatingPointError, match="not finite") as error:
        diverging(TINY, seed=1)
    assert not isinstance(error.value, NasError)


def test_a_hold_out_is_never_trained_on(proxy: TrainingProxy, tmp_path: Path) -> None:
    fit, held = proxy.splits()
    assert not {image.id for image in fit.images} & {image.id for image in held.images}
    assert fit.json_path.name == held.json_path.name == "train.json"


def test_repeats_go_round_the_folds_of_a_small_hold_out(proxy: TrainingProxy) -> None:
    """48 scenes to train on, of which a third is held out: three folds."""
    assert proxy.folds() == proxy.describe()["folds"] == 3
    held = [{image.id for image in proxy.splits(repeat)[1].images} for repeat in range(4)]
    assert held[3] == held[0] and len(set.union(*held)) == sum(map(len, held[:3]))
    scores = [results(proxy(TINY, seed=1, repeat=repeat)) for repeat in (0, 1, 3)]
    assert scores[0] == scores[2] == results(proxy(TINY, seed=1))
    assert scores[0] != scores[1]


def test_with_rungs_it_reports_every_epoch_and_ends_alike(proxy: TrainingProxy) -> None:
    constant = SETTINGS.model_copy(
        update={"recipe": SETTINGS.recipe.model_copy(update={"schedule": "constant", "epochs": 2})}
    )
    options: Any = {"data_settings": proxy.data_settings, "build": build}
    reports = list(TrainingProxy(constant, rungs=(1,), **options)(TINY, seed=1))
    assert len(reports) == 2
    assert results(reports[1]) == results(TrainingProxy(constant, **options)(TINY, seed=1))
    assert reports[0]["loss"] != reports[1]["loss"]
    assert reports[0]["seconds"] < reports[1]["seconds"]


def test_rungs_need_a_schedule_that_doesn_t_know_the_end() -> None:
    onecycle = ProxySettings(recipe=resolve("short", {"epochs": 4}))
    with pytest.raises(ConfigError, match="schedule 'onecycle'"):
        TrainingProxy(onecycle, rungs=(1,))
    late = ProxySettings(recipe=resolve("short", {"epochs": 4, "schedule": "constant"}))
    TrainingProxy(late, rungs=(1, 3))
    with pytest.raises(ConfigError, match=r"stopping\.rungs has 4"):
        TrainingProxy(late, rungs=(1, 4))
    steps = {"epochs": 6, "schedule": "step", "decay_before_end": (2,), "decay_factor": 0.1}
    TrainingProxy(ProxySettings(recipe=resolve("short", steps)), rungs=(1, 4))
    with pytest.raises(ConfigError, match="decays after it"):
        TrainingProxy(ProxySettings(recipe=resolve("short", steps)), rungs=(1, 5))
