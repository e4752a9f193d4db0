"""The reduced training gives the same bits in this process and in Ray's actors."""

from __future__ import annotations

from pathlib import Path

import nas
from nas.data.scenes import write_scenes
from nas.data.settings import DataSettings
from nas.executors import ComputeSettings
from nas.training.recipes import resolve
from proxies.settings import ProxyScaleSettings, ProxySettings
from proxies.training import TrainingProxy
from search_spaces.spinenet.space import SpineNetSpace


def test_inline_and_ray_agree_to_the_last_bit(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", seed=3, images=40)
    settings = ProxySettings(
        recipe=resolve("short", {"epochs": 1, "batch_size": 8}),
        scale=ProxyScaleSettings(width=0.0625, alpha=0.25, head_width=8, input_size=128),
    )
    data = DataSettings(holdout=0.2, cache_dir=tmp_path / "cache")
    proxy = TrainingProxy(settings, tmp_path / "scenes", data)
    found = []
    for name in ("inline", "ray"):
        result = nas.search(
            SpineNetSpace(),
            proxy,
            "random",
            budget=2,
            objective="ap50",
            compute=ComputeSettings.model_validate({"executor": name, "workers": 2}),
        )
        found.append(
            {
                row.key: (row.metrics["loss"], row.metrics["ap"], row.numerics)
                for row in result.trials
            }
        )
    assert len(found[0]) == 2 and found[0] == found[1]
