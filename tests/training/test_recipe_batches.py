"""What a recipe says of augmentation reaches the batches, in trials as in trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.passes import by_passes, median_side
from nas.data.scenes import write_scenes
from nas.data.settings import DataSettings
from nas.errors import ConfigError
from nas.training.batches import augmentation, recipe_batches
from nas.training.recipes import resolve
from proxies.training import ProxySettings, TrainingProxy
from search_spaces import zoo


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), images=60)


@pytest.fixture(scope="module")
def split(root: Path) -> Split:
    return load_split(root, "train")


@pytest.mark.parametrize("epochs", [4, 12, 100])
def test_passes_are_the_epochs(split: Split, epochs: int) -> None:
    recipe = resolve("short", {"augment_by_passes": True, "epochs": epochs})
    side = median_side(split, 64, "letterbox")
    assert augmentation(recipe, split, 64, "letterbox") == by_passes(epochs, side)
    assert augmentation(resolve("short"), split, 64, "letterbox") is None


def test_pixels_of_twice_the_side_make_inputs(split: Split, tmp_path: Path) -> None:
    pixels = PixelCache.open(split, 128, "letterbox", tmp_path)
    recipe = resolve("short", {"augment_by_passes": True, "quarter_turns": True})
    batch = next(recipe_batches(recipe, pixels, split, 0).epoch(0))
    assert batch.images.shape[1:] == (3, 64, 64)
    assert batch.boxes.max() <= 64
    plain = next(recipe_batches(resolve("short"), pixels, split, 0).epoch(0))
    assert plain.images.shape[1:] == (3, 128, 128)


def test_a_trial_sees_augmented_inputs(root: Path, tmp_path: Path) -> None:
    """The hold-out is judged at the input's size, whatever the training is cached at."""
    scale = {"width": 0.25, "alpha": 0.25, "neck_width": 16, "head_width": 16, "input_size": 128}
    changes = {"epochs": 1, "batch_size": 16, "ema_share": 0.2}
    scores = []
    for more in ({}, {"augment_by_passes": True}):
        settings = ProxySettings.model_validate({"recipe": {**changes, **more}, "scale": scale})
        proxy = TrainingProxy(settings, root, DataSettings(cache_dir=tmp_path))
        assert proxy.pixel_sides(128) == ((256, 128) if more else (128, 128))
        genome = zoo.genome("spinenet-49s")
        scores.append([proxy(genome, seed=1)["loss"] for _ in range(2)])
        assert scores[-1][0] == scores[-1][1]
        assert ("augment_by_passes" in proxy.describe()["settings"]["recipe"]) is bool(more)
    assert scores[0] != scores[1]


@pytest.mark.parametrize("changes", [{"augment_by_passes": True}, {"augment": {"mosaic": 0.5}}])
def test_what_depends_on_length_is_no_rung_s(changes: dict[str, object]) -> None:
    recipe = {"epochs": 9, "schedule": "constant", **changes}
    with pytest.raises(ConfigError, match="augmentation before a rung depends on the number of"):
        TrainingProxy(ProxySettings.model_validate({"recipe": recipe}), rungs=(1,))
