"""How many trials share a GPU: cases worked by hand, and what is measured in a pretended one."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.config.loading import load_search, to_yaml
from nas.config.overrides import Override
from nas.config.schema import SearchConfig
from nas.errors import ConfigError, DataError
from nas.executors import ComputeSettings, gpu_share
from nas.executors.gpu_share import Need, fit_to_gpus, largest_candidate, measure, share_gpus
from nas.planning import gpus as job
from nas.runs.folder import Run
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.objective import ObjectiveSettings
from proxies.training import TrainingProxy
from search_spaces.spinenet.space import SpineNetSpace

GIB = 2**30


@pytest.mark.parametrize(
    ("peak", "total", "trials"),
    [
        (5, 24, 4),  # 4 × 5 × 1.2 = 24, to the last byte
        (5.01, 24, 3),
        (3, 80, 22),  # 22 × 3.6 = 79.2
        (19.9, 24, 1),
        (23, 24, 1),  # the margin doesn't fit, and the trial does
        (24, 24, 1),
    ],
)
def test_trials_that_fit(peak: float, total: int, trials: int) -> None:
    assert Need(int(peak * GIB), total * GIB).trials == trials


FOUR = Need(5 * GIB, 24 * GIB)


@pytest.mark.parametrize(
    ("settings", "gpus", "cores", "workers", "share"),
    [
        ({}, 1, 16, 4, 0.25),
        ({}, 2, 32, 8, 0.25),
        ({}, 2, 6, 6, 0.3333),  # three cores for each GPU
        ({"threads": 8}, 1, 16, 2, 0.5),
        ({"threads": 8}, 2, 4, 2, 1.0),  # one worker a GPU, however few cores
        ({"workers": 1}, 1, 16, 1, 1.0),
        ({"workers": 2}, 2, 32, 2, 1.0),  # not both on the first GPU
        ({"workers": 3}, 2, 32, 3, 0.5),
        ({"workers": 16}, 2, 64, 8, 0.25),
        ({"workers": 16, "address": "auto"}, 2, 64, 16, 0.25),  # a machine may join
    ],
)
def test_workers_and_their_share(
    settings: dict[str, Any], gpus: int, cores: int, workers: int, share: float
) -> None:
    found = share_gpus(ComputeSettings(**settings), FOUR, gpus=gpus, cores=cores)
    assert (found.workers, found.gpus) == (workers, share)


def test_shares_in_ray_s_units_are_one_gpu_at_most() -> None:
    for trials in range(1, 65):
        one = Need(5 * GIB, trials * GIB * 6)
        share = share_gpus(ComputeSettings(), one, gpus=1, cores=999).gpus
        units = Fraction(str(share)) * 10_000
        assert units.denominator == 1 and trials * units <= 10_000 < (trials + 1) * units


# Where there is no GPU, or none is wanted


def unused() -> Any:
    raise AssertionError("nothing is to be measured")


class OnGpu:
    """Wants a GPU."""

    device = "cuda"

    def __init__(self, raised: Exception | None = None) -> None:
        self.raised = raised

    def __call__(self, candidate: Any, seed: int) -> Iterator[float]:
        if self.raised is not None:
            raise self.raised
        yield 0.5
        raise AssertionError("a first report is enough")


def test_without_a_gpu_auto_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_share, "gpus", lambda: [])
    found = fit_to_gpus(ComputeSettings(workers=3), OnGpu(), unused)
    assert found.gpus_per_worker == 0.0 and found.workers == 3
    monkeypatch.setattr(gpu_share, "gpus", lambda: ["a GPU, 24576 MiB"])
    assert fit_to_gpus(ComputeSettings(), lambda c, s: 0.0, unused).gpus_per_worker == 0.0
    one = ComputeSettings(gpus_per_worker=1)
    assert fit_to_gpus(one, OnGpu(), unused) == one


def test_a_search_calls_a_plain_evaluator_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_share, "gpus", lambda: ["a GPU, 24576 MiB"])
    calls: list[int] = []

    def evaluate(candidate: dict[str, int], seed: int) -> float:
        calls.append(seed)
        return 0.0

    search(ChoiceSpace({"a": [0, 1, 2]}), evaluate, "random", budget=2)
    assert len(calls) == 2


# The measuring trial


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of 24 GiB: the trial's peak was 8, 1 is reserved now, 1.5 in all is in use."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 8 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (24 * GIB - 3 * GIB // 2, 24 * GIB))


@pytest.mark.usefixtures("pretended")
def test_what_a_trial_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure(OnGpu(), None, 1) == Need(17 * GIB // 2, 24 * GIB)
    too_large = OnGpu(torch.cuda.OutOfMemoryError("12 GiB"))
    assert measure(too_large, None, 1) == Need(24 * GIB, 24 * GIB)
    assert measure(OnGpu(DataError("train.json: missing")), None, 1) == "train.json: missing"
    assert "no such kernel" in str(measure(OnGpu(ValueError("no such kernel")), None, 1))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 0)
    assert measure(OnGpu(), None, 1) == Need(0, 24 * GIB)


def test_without_cuda_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measure(OnGpu(AssertionError("run")), None, 1).peak == 0  # type: ignore[union-attr]


def test_the_largest_within_the_limits_is_measured() -> None:
    space = ChoiceSpace({"width": list(range(10))})

    def costs(candidate: dict[str, int]) -> dict[str, float]:
        return {"params": 10.0 * candidate["width"], "macs": candidate["width"] ** 2}

    limits = ObjectiveSettings(limits={"params": 65})
    assert largest_candidate(space, limits, costs, seed=0) == {"width": 6}
    assert largest_candidate(space, ObjectiveSettings(), costs, seed=0) == {"width": 9}
    of_any_size = largest_candidate(space, ObjectiveSettings(), None, seed=0)
    assert of_any_size in [{"width": n} for n in range(10)]


# `nas search`


def test_a_search_measures_a_short_trial_and_keeps_what_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    met: list[Any] = []

    def fitted(compute: ComputeSettings, proxy: Any, candidate: Any) -> ComputeSettings:
        met.extend((compute, proxy))
        return share_gpus(compute, FOUR, gpus=1, cores=16)

    monkeypatch.setattr(job, "fit_to_gpus", fitted)
    config = SearchConfig.model_validate({"proxy": {"threads": 2}, "data_dir": str(tmp_path)})
    run = Run.make(tmp_path / "run")
    proxy = TrainingProxy(config.proxy, tmp_path)
    options: Any = (proxy, SpineNetSpace(), lambda genome: {})
    found = job.on_gpus(config, run, *options)
    assert (found.compute.workers, found.compute.gpus) == (4, 0.25)
    assert met[0].threads == 2 and met[1].device == "cuda"
    recipe = met[1].settings.trial_recipe()
    assert recipe.epochs == 1 and met[1].settings.images == 8 * recipe.batch_size
    run.config.write_text(to_yaml(found))
    assert job.on_gpus(config, run, *options) == found and len(met) == 2


def test_the_setting_is_read_and_refused() -> None:
    def read(value: str) -> Any:
        override = Override.parse("--set", f"compute.gpus_per_worker={value}")
        return load_search(None, [override]).compute.gpus_per_worker

    assert SearchConfig().compute.gpus_per_worker == read("auto") == "auto"
    assert [read("0"), read("0.5"), read("2")] == [0, 0.5, 2]
    for wrong in ("all", "-1", "1.5", "nan"):
        with pytest.raises(ConfigError, match=r"--set .*gpus_per_worker: .* is not auto, a share"):
            read(wrong)
