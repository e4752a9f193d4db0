"""Weights from our own files and from torchvision's classes, and the refusal of all others."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, mobilenet_v3_large, resnet18
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from nas.cli.main import main
from nas.data.coco import Category
from nas.data.scenes import write_scenes
from nas.errors import RunError
from nas.genome import Genome
from nas.models import Detector
from nas.models.pretrained import SOURCES, state_dicts
from nas.models.pretrained.loading import start_from
from nas.models.pretrained.state_dicts import read_state_dict
from nas.models.tensor_file import read_tensors, write_tensors
from nas.training.checkpoint import Checkpoints, TrainingState
from nas.training.optimizer import make_optimizer
from nas.training.recipes import resolve
from nas.training.weights import TrainedModel
from tests.genome.counting import document, published
from tests.models.lite import lite_file
from tests.models.ssdlite import NAME, SIZE, livened, raw_of, theirs
from tests.models.tiny import built, pictures, tiny


def small(tensors: dict[str, Tensor]) -> int:
    """Tensors but for batch norm's counters."""
    return sum(not name.endswith("num_batches_tracked") for name in tensors)


def full_tail() -> Genome:
    """The genome whose last blocks are as wide as the classifier's."""
    text: Any = document(NAME)
    for block in text["blocks"]:
        if block["id"] in ("13", "14", "15"):
            block["op"]["width"] = 160
        if block["id"] == "16":
            block["op"]["width"] = 960
        if block["id"] == "extra0":
            block["op"]["expansion"] = 256 / 960
    return Genome.model_validate(text)


def mobilenet_v2_genome(width: float) -> Genome:
    """The published backbone without its last block, its last maps read by an SSD head."""
    text: Any = document("mobilenetv2-0.75-rfcr")
    text["scale"]["width"] = width
    text["neck"] = {"type": "none"}
    text["taps"] = [{"block": "block_12"}, {"block": "block_15"}]
    boxes = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.5}
    text["head"] = {"type": "ssd", "separable": True, "anchors": [boxes, boxes]}
    return Genome.model_validate(text)


def saved(model: nn.Module, folder: Path, name: str = "file.pth") -> Path:
    """Its state dict in a file."""
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def batch() -> Tensor:
    return pictures(1, SIZE)


def test_a_file_is_recognised_by_one_source_alone(tmp_path: Path) -> None:
    own, _ = own_file(tmp_path, tiny(), 4)
    files = {
        "ours": own,
        "torchvision_ssdlite": saved(theirs(7), tmp_path, "ssdlite.pth"),
        "torchvision_mobilenet_v3": saved(mobilenet_v3_large(), tmp_path, "v3.pth"),
        "torchvision_mobilenet_v2": saved(mobilenet_v2(), tmp_path, "v2.pth"),
        "efficientnet_lite": lite_file(tmp_path),
    }
    assert list(files) == list(SOURCES)
    for expected, path in files.items():
        file = read_state_dict(path)
        assert [name for name in SOURCES if SOURCES.load(name)().recognises(file)] == [expected]


# --- torchvision's detector -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["file.pth", "file.pt", "file.safetensors"])
def test_ssdlite_is_taken_whole(tmp_path: Path, batch: Tensor, name: str) -> None:
    other = theirs(7)
    model = built(published(NAME), 7)
    loaded = start_from(model, saved(other, tmp_path, name))
    assert (loaded.loaded, loaded.new) == (small(other.state_dict()), 0)
    assert str(loaded) == f"{loaded.loaded} tensors taken from torchvision's SSDlite"
    assert_equal_outputs(model, other, batch)


def test_ssdlite_with_the_full_tail_is_taken_whole(tmp_path: Path, batch: Tensor) -> None:
    """The class's own default: built as for a pretrained backbone, its weights drawn here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "torchvision.models.detection.ssdlite.mobilenet_v3_large",
            lambda weights, progress, norm_layer, reduced_tail: mobilenet_v3_large(
                norm_layer=norm_layer, reduced_tail=False
            ),
        )
        other = ssdlite320_mobilenet_v3_large(weights_backbone=None, num_classes=7)
    livened(other)
    model = built(full_tail(), 7)
    assert start_from(model, saved(other.eval(), tmp_path)).new == 0
    assert_equal_outputs(model, other, batch)


def assert_equal_outputs(model: Detector, other: Any, batch: Tensor) -> None:
    with torch.no_grad():
        mine, expected = model.eval().raw(batch), raw_of(other, model.normalize(batch))
    for met, name in ((mine.logits, "cls_logits"), (mine.deltas, "bbox_regression")):
        wanted = expected[name]
        assert (met - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_other_classes_get_new_outputs_and_keep_the_rest(tmp_path: Path, batch: Tensor) -> None:
    other, model, fresh = theirs(7), built(published(NAME), 5), built(published(NAME), 5)
    loaded = start_from(model, saved(other, tmp_path))
    assert (loaded.loaded, loaded.new) == (small(other.state_dict()) - 12, 12)
    assert "12 made new (the class outputs, for 4 classes)" in str(loaded)
    with torch.no_grad():
        mine, expected = model.eval().raw(batch), raw_of(other, model.normalize(batch))
    wanted = expected["bbox_regression"]
    assert (mine.deltas - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    for output, first in zip(model.head.class_outputs(), fresh.head.class_outputs(), strict=True):
        assert output.bias is not None and first.bias is not None
        assert torch.equal(output.weight, first.weight) and torch.equal(output.bias, first.bias)


# --- torchvision's classifiers ----------------------------------------------------------------


def test_a_mobilenet_v3_fills_the_full_tail(tmp_path: Path, batch: Tensor) -> None:
    other = mobilenet_v3_large(norm_layer=lambda c: nn.BatchNorm2d(c, eps=1e-3)).eval()
    livened(other)
    model = built(full_tail(), 5)
    loaded = start_from(model, saved(other, tmp_path))
    assert loaded.loaded == small(other.features.state_dict())
    assert str(loaded).endswith("made new (all behind block '16')")
    with torch.no_grad():
        expected = other.features(model.normalize(batch))
        met = model.eval().features(model.normalize(batch))[1]
    assert (met - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_mobilenet_v3_fills_the_reduced_tail_up_to_where_it_fits(
    tmp_path: Path, batch: Tensor
) -> None:
    other = mobilenet_v3_large(norm_layer=lambda c: nn.BatchNorm2d(c, eps=1e-3)).eval()
    livened(other)
    genome = published(NAME)
    cut = genome.replace(taps=(genome.taps[0].replace(block="12", point="out"), *genome.taps[1:]))
    model = built(cut, 5)
    loaded = start_from(model, saved(other, tmp_path))
    assert loaded.loaded == small(other.features[:13].state_dict())
    assert "all behind block '12'" in str(loaded)
    with torch.no_grad():
        expected = other.features[:13](model.normalize(batch))
        met = model.eval().features(model.normalize(batch))[0]
    assert (met - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("width", [0.75, 1.0, 1.4])
def test_a_mobilenet_v2_fills_the_truncated_backbone(
    tmp_path: Path, batch: Tensor, width: float
) -> None:
    other = mobilenet_v2(width_mult=width, norm_layer=lambda c: nn.BatchNorm2d(c, eps=1e-3)).eval()
    livened(other)
    model = built(mobilenet_v2_genome(width), 5)
    loaded = start_from(model, saved(other, tmp_path))
    assert loaded.loaded == small(other.features[:17].state_dict())
    assert str(loaded).endswith("made new (the head)")
    with torch.no_grad():
        images = model.normalize(batch)
        expected = [other.features[:14](images), other.features[:17](images)]
        met = model.eval().features(images)
    for mine, wanted in zip(met, expected, strict=True):
        assert (mine - wanted).abs().max() <= 1e-5 * wanted.abs().max()


# --- our own files ----------------------------------------------------------------------------


def own_file(folder: Path, genome: Genome, classes: int) -> tuple[Path, Detector]:
    model = built(genome, classes, seed=3)
    livened(model)
    categories = tuple(Category(k + 1, f"thing {k}") for k in range(classes - 1))
    TrainedModel(model, categories).save(folder / "model.safetensors")
    return folder / "model.safetensors", model


@pytest.mark.parametrize("genome", [tiny(), published(NAME)], ids=["retinanet", "ssd"])
def test_our_own_model_is_taken_whole_or_but_for_the_classes(
    genome: Genome, tmp_path: Path
) -> None:
    path, first = own_file(tmp_path, genome, 4)
    model = built(genome, 4)
    assert start_from(model, path).new == 0
    met = model.state_dict()
    for name, tensor in first.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(met[name], tensor)
    fewer = built(genome, 3)
    fresh = built(genome, 3)
    loaded = start_from(fewer, path)
    assert loaded.new == 2 * len(fewer.head.class_outputs())
    assert "2 classes" in loaded.note
    assert loaded.loaded + loaded.new == small(fewer.state_dict())
    for output, new in zip(fewer.head.class_outputs(), fresh.head.class_outputs(), strict=True):
        assert torch.equal(output.weight, new.weight)
    assert torch.equal(next(fewer.body.parameters()), next(first.body.parameters()))


@pytest.mark.parametrize("ema", [0.0, 0.9], ids=["last", "averaged"])
@pytest.mark.parametrize("genome", [tiny(), published(NAME)], ids=["retinanet", "ssd"])
def test_a_checkpoint_is_taken_as_far_as_the_classes_allow(
    genome: Genome, ema: float, tmp_path: Path
) -> None:
    recipe = resolve("short", {"ema": ema})
    first = built(genome, 4, seed=3)
    state = TrainingState.start(first, make_optimizer(first, recipe), recipe, torch.device("cpu"))
    livened(first)
    if state.ema is not None:
        state.ema.update_parameters(first)
        expected = state.ema.module.state_dict()
        livened(first)
    else:
        expected = first.state_dict()
    kept = Checkpoints(tmp_path, {"genome": genome.key})
    kept.save(state)
    model, fewer = built(genome, 4), built(genome, 3)
    loaded = start_from(model, kept.last)
    assert str(loaded) == f"{small(expected)} tensors taken from a checkpoint of nas train"
    for name, tensor in model.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(tensor, expected[name])
    new = 2 * len(fewer.head.class_outputs())
    assert f"{new} made new (the class outputs, for 2 classes)" in str(start_from(fewer, kept.last))


# --- refusals ---------------------------------------------------------------------------------


class Bomb:
    """Unpickling this would leave a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("exploded").touch, ()


def not_finite() -> dict[str, Tensor]:
    tensors = theirs(7).state_dict()
    tensors["backbone.features.0.3.block.0.0.weight"][0, 0] = float("nan")
    return tensors


def shape_changed() -> dict[str, Tensor]:
    tensors = theirs(7).state_dict()
    name = "backbone.features.0.5.block.1.0.weight"
    tensors[name] = tensors[name][:, :, 1:, 1:].clone()
    return tensors


def part_missing() -> dict[str, Tensor]:
    tensors = theirs(7).state_dict()
    del tensors["head.regression_head.module_list.2.1.bias"]
    return tensors


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "a pickle with code": (lambda: {"x": Bomb()}, "no code in a file is ever run"),
    "no dict": (lambda: torch.zeros(3), "no tensors by name"),
    "an empty dict": (dict, "no tensors by name"),
    "a dict of dicts": (lambda: {"model": {"x": torch.zeros(1)}}, "model is no plain tensor"),
    "a sparse tensor": (lambda: {"x": torch.eye(3).to_sparse()}, "x is no plain tensor"),
    "a tensor of one number repeated": (
        lambda: {"x": torch.zeros(1).expand(10**12)},
        "x has 1,000,000,000,000 numbers",
    ),
    "another network": (lambda: resnet18().state_dict(), "unknown layout (it has 'bn1')"),
    "numbers that aren't finite": (not_finite, "block.0.0.weight has numbers that aren't finite"),
    "another kernel": (shape_changed, "block '5' it has (120, 1, 4, 4) as weight"),
    "a part that is missing": (part_missing, "the regression of map 2 it has nothing as bias"),
    "another width": (
        lambda: mobilenet_v3_large(width_mult=0.5).state_dict(),
        "block '0' it has (8, 3, 3, 3) as weight of features.0.0, not (16, 3, 3, 3)",
    ),
    "a name that steers a terminal": (lambda: {"\x1b[2J.w": torch.zeros(1)}, "\\x1b[2J"),
}


@pytest.mark.parametrize(("make", "says"), BAD.values(), ids=BAD.keys())
def test_what_is_no_known_file_is_refused_in_one_line(
    make: Callable[[], Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(make(), "file.pth")
    model = built(published(NAME), 7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(RunError, match=r"^file\.pth: ") as caught:
        start_from(model, Path("file.pth"))
    message = str(caught.value)
    assert says in message and message.isprintable() and len(message) < 400
    assert not Path("exploded").exists()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_other_tail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"block '13' it has \(80, 672, 1, 1\) as weight"):
        start_from(built(full_tail(), 7), saved(theirs(7), tmp_path))


def test_another_architecture_s_detector_is_refused(tmp_path: Path) -> None:
    path = saved(theirs(7), tmp_path)
    with pytest.raises(RunError, match=r"21 blocks in a row, the genome 17 of 17"):
        start_from(built(mobilenet_v2_genome(1.0), 7), path)
    own, _ = own_file(tmp_path, tiny(), 4)
    with pytest.raises(RunError, match="don't fit the genome"):
        start_from(built(published(NAME), 4), own)
    with pytest.raises(RunError, match="don't fit the genome"):
        start_from(built(tiny().scaled(width=2.0), 4), own)


OWN_BAD: dict[str, tuple[Callable[[dict[str, Tensor], dict[str, Any]], Any], str]] = {
    "another version": (lambda _, header: header.update(version=7), "is of version 7, not 1"),
    "no version": (lambda _, header: header.clear(), "is of version None, not 1"),
    "numbers that aren't finite": (
        lambda tensors, _: tensors["head.box_tower.predict.bias"].fill_(float("inf")),
        "head.box_tower.predict.bias has numbers that aren't finite",
    ),
    "a part that is missing": (
        lambda tensors, _: tensors.pop("head.box_tower.predict.weight"),
        "it has nothing as weight of head.box_tower.predict",
    ),
    "no class outputs": (
        lambda tensors, _: [
            tensors.pop(f"head.class_tower.predict.{name}") for name in ("weight", "bias")
        ],
        "it has nothing as weight of head.class_tower.predict",
    ),
    "a part too many": (
        lambda tensors, _: tensors.update({"head.\x1b[2J.weight": torch.zeros(1)}),
        "it has head.\\x1b[2J, which the genome hasn't",
    ),
}


@pytest.mark.parametrize(("spoil", "says"), OWN_BAD.values(), ids=OWN_BAD.keys())
def test_our_own_file_is_refused_in_one_line(
    spoil: Callable[[dict[str, Tensor], dict[str, Any]], Any], says: str, tmp_path: Path
) -> None:
    path, _ = own_file(tmp_path, tiny(), 4)
    tensors, header = read_tensors(path)
    spoil(tensors, header)
    write_tensors(path, tensors, header)
    model = built(tiny(), 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(RunError, match=r"model\.safetensors: ") as caught:
        start_from(model, path)
    assert says in str(caught.value) and str(caught.value).isprintable()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_arrays_by_name_are_read_and_none_unpickled(tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in theirs(91).state_dict().items()}
    np.savez(tmp_path / "arrays.npz", **arrays)
    saved(theirs(91), tmp_path, "tensors.pth")
    one, other = built(published(NAME), 91), built(published(NAME), 91)
    loaded = start_from(one, tmp_path / "arrays.npz")
    assert str(loaded) == str(start_from(other, tmp_path / "tensors.pth"))
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    np.savez(tmp_path / "objects.npz", weight=np.array([{}], dtype=object))
    with pytest.raises(RunError, match=r"objects\.npz: can't be read as arrays by name"):
        start_from(one, tmp_path / "objects.npz")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is a folder; name a file in it, such as model\.safe"):
        start_from(built(tiny()), tmp_path)


def test_size_is_limited_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(resnet18(), tmp_path)
    monkeypatch.setattr(state_dicts, "MAX_BYTES", 1_000_000)
    with pytest.raises(RunError, match="bytes; legal: at most 1,000,000"):
        start_from(built(tiny()), path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(2_000_000))
    (tmp_path / "bomb.pth").write_bytes(packed.getvalue())
    assert len(packed.getvalue()) < 10_000
    with pytest.raises(RunError, match=r"2,000,\d+ bytes"):
        start_from(built(tiny()), tmp_path / "bomb.pth")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", bytes(range(256)) * 40])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.npz"])
def test_noise_is_refused(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=name) as caught:
        start_from(built(tiny()), tmp_path / name)
    assert str(caught.value).isprintable()
    with pytest.raises(RunError, match="gone"):
        start_from(built(tiny()), tmp_path / f"gone_{name}")


# --- the command ------------------------------------------------------------------------------


def test_the_command_says_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scenes(Path("scenes"), images=8)
    Path("ssdlite.json").write_text(published(NAME).to_json())
    saved(theirs(91), tmp_path, "coco.pth")
    words = "train --genome ssdlite.json --data scenes --init coco.pth --dry-run"
    assert main(words.split()) == 0
    assert "tensors taken from torchvision's SSDlite, 12 made new" in capsys.readouterr().out
    saved(resnet18(), tmp_path, "other.pth")
    assert main(words.replace("coco", "other").split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("nas: --init ") and error.count("\n") == 1
    assert "other.pth: unknown layout" in error


def test_a_trained_model_starts_one_for_other_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From three classes to ten; the file is needed for the first epoch only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    write_scenes(Path("scenes"), images=8, difficulty="hard")
    path, _ = own_file(tmp_path, tiny(), 4)
    Path("tiny.json").write_text(tiny().to_json())
    words = "train --genome tiny.json --data scenes --run run --init model.safetensors"
    quick = ["--set=recipe.epochs=1", "--set=recipe.batch_size=2"]
    assert main([*words.split(), *quick]) == 0
    assert "2 made new (the class outputs, for 10 classes)" in capsys.readouterr().out
    path.unlink()
    assert main(["resume", "run"]) == 0
    assert main([*words.replace("--run run", "--run other").split(), *quick]) == 2
    assert "--init" in capsys.readouterr().err
