"""The exported file against PyTorch, on models whose random weights give many detections."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, numpy_helper
from PIL import Image
from torch import nn
from torchvision.ops import box_iou

import nas
from nas.data.coco import Category
from nas.errors import NasError
from nas.formats.onnx.export import write
from nas.formats.onnx.runtime import OnnxDetector
from nas.formats.onnx.verify import pictures, verify
from nas.genome import Genome
from nas.genome.parts import Postprocess
from nas.models import Detector
from nas.models.heads.retinanet import Tower
from search_spaces import zoo
from search_spaces.spinenet.space import SpineNetSpace

CATEGORIES = tuple(Category(7 * k + 3, f"thing {k}") for k in range(5))
IDS = [category.id for category in CATEGORIES]


def small(**postprocess: float) -> Genome:
    """A genome of few blocks, which exports in a second or two."""
    genome = SpineNetSpace(intermediates=2).sample(random.Random(1))
    genome = genome.scaled(width=0.125, alpha=0.25, head_width=16, input_size=128)
    return genome.replace(head=genome.head.replace(postprocess=Postprocess(**postprocess)))  # type: ignore[arg-type]


def random_model(genome: Genome, seed: int = 0) -> Detector:
    """A detector that finds a lot: wide logits, batch norms that have seen something."""
    torch.manual_seed(seed)
    model = nas.build(genome, 1 + len(CATEGORIES)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    for tower, spread in ((model.head.class_tower, 0.4), (model.head.box_tower, 0.05)):
        for conv in tower.convs:
            nn.init.kaiming_normal_(conv.weight)
        nn.init.normal_(tower.predict.weight, std=spread)
    return model


def _fill_bias(tower: Tower, value: float) -> None:
    assert tower.predict.bias is not None
    nn.init.constant_(tower.predict.bias, value)


def noise(genome: Genome, count: int = 2) -> list[np.ndarray]:
    shape = (count, genome.input.size, genome.input.size, 3)
    return list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture(scope="module")
def model() -> Detector:
    genome = zoo.genome("spinenet-49")
    return random_model(genome.scaled(width=0.125, alpha=0.25, head_width=16, input_size=128))


@pytest.fixture(scope="module")
def file(model: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    write(model, CATEGORIES, path)
    return path


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Detector]:
    path = tmp_path_factory.mktemp("small") / "model.onnx"
    model = random_model(small(candidates=40))
    write(model, CATEGORIES, path)
    return path, model


def twins(wanted: dict[str, torch.Tensor], found: dict[str, np.ndarray]) -> np.ndarray:
    """For each wanted detection, whether the other side has it too."""
    boxes, labels = torch.from_numpy(found["boxes"]), np.array([0, *IDS])[wanted["labels"].numpy()]
    near = box_iou(wanted["boxes"], boxes).numpy() > 0.99
    near &= np.abs(wanted["scores"].numpy()[:, None] - found["scores"]) < 1e-4
    near &= labels[:, None] == found["labels"]
    result: np.ndarray = near.any(axis=1)
    return result


def run(path: Path, picture: np.ndarray) -> dict[str, np.ndarray]:
    session = OnnxDetector(path).session
    names = [output.name for output in session.get_outputs()]
    image = (picture.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


def test_every_detection_has_its_twin(file: Path, model: Detector) -> None:
    shares = []
    for picture in noise(model.genome, 3):
        tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
        wanted, found = model.detect(tensor)[0], run(file, picture)
        raw = model.raw(tensor)
        for name, value in (("logits", raw.logits), ("deltas", raw.deltas)):
            largest = value.abs().max().item()
            assert np.abs(found[name] - value.detach().numpy()).max() <= 1e-4 * largest
        assert len(wanted["boxes"]) == len(found["boxes"]) == 100  # of more than a hundred
        assert (np.diff(found["scores"]) <= 0).all()
        shares.append(twins(wanted, found).mean())
    # NMS may decide a tie within rounding either way.
    assert np.mean(shares) > 0.98


def test_class_candidates_beyond_the_limit_are_left_out(small_file: tuple[Path, Detector]) -> None:
    path, model = small_file
    assert len(model.head.anchors) > 40
    picture = noise(model.genome)[0]
    wanted = model.detect(torch.from_numpy(picture).permute(2, 0, 1)[None])[0]
    found = run(path, picture)
    assert len(found["scores"]) == len(wanted["scores"]) > 0
    assert twins(wanted, found).mean() > 0.98


def test_nothing_found_is_an_empty_answer_and_the_check_looks_lower(tmp_path: Path) -> None:
    genome = small(score=0.999999)
    model = random_model(genome)
    agreement = write(model, CATEGORIES, tmp_path / "m.onnx")
    assert agreement.threshold < 0.999999 and agreement.detections > 0
    found = run(tmp_path / "m.onnx", noise(genome)[0])
    assert found["boxes"].shape == (0, 4) and found["scores"].shape == found["labels"].shape == (0,)


def test_equal_scores_are_ties_and_no_error(tmp_path: Path) -> None:
    model = random_model(small())
    nn.init.zeros_(model.head.class_tower.predict.weight)
    _fill_bias(model.head.class_tower, 0.0)
    write(model, CATEGORIES, tmp_path / "m.onnx")
    found = run(tmp_path / "m.onnx", noise(model.genome)[0])
    assert len(found["scores"]) == 100
    assert found["scores"] == pytest.approx(0.5)


def other_weight(proto: ModelProto) -> None:
    name, value = _initializer(proto, lambda n, v: v.ndim == 4 and v.size > 100)
    _set(proto, name, value * 1.01)


def other_nms(proto: ModelProto) -> None:
    _set(proto, "postprocess/iou_threshold", np.array([0.7], dtype=np.float32))


def other_anchors(proto: ModelProto) -> None:
    name = "postprocess/anchor_centres"
    _set(proto, name, _initializer(proto, lambda n, _: n == name)[1] + 3)


def other_ids(proto: ModelProto) -> None:
    _set(proto, "postprocess/category_ids", np.array(IDS[::-1], dtype=np.int64))


def no_detections(proto: ModelProto) -> None:
    _set(proto, "postprocess/score_threshold", np.array([0.9999], dtype=np.float32))


def _initializer(
    proto: ModelProto, wanted: Callable[[str, np.ndarray], bool]
) -> tuple[str, np.ndarray]:
    arrays = [(t.name, numpy_helper.to_array(t)) for t in proto.graph.initializer]
    return next((name, value) for name, value in arrays if wanted(name, value))


def _set(proto: ModelProto, name: str, value: np.ndarray) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


@pytest.mark.parametrize(
    "change", [other_weight, other_nms, other_anchors, other_ids, no_detections]
)
def test_a_file_that_says_something_else_is_found_out(
    change: Callable[[ModelProto], None], small_file: tuple[Path, Detector], tmp_path: Path
) -> None:
    path, model = small_file
    verify(path, model, IDS, noise(model.genome))
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, tmp_path / "changed.onnx")
    with pytest.raises(NasError, match=r"changed\.onnx") as caught:
        verify(tmp_path / "changed.onnx", model, IDS, noise(model.genome))
    assert "\n" not in str(caught.value)


def test_a_failed_check_leaves_the_old_file_and_no_new_one(tmp_path: Path) -> None:
    model = random_model(small())
    _fill_bias(model.head.box_tower, float("nan"))
    (tmp_path / "m.onnx").write_bytes(b"old")
    with pytest.raises(NasError, match="deltas"):
        write(model, CATEGORIES, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"old"
    with pytest.raises(NasError, match="2 categories for a model of 5"):
        write(model, CATEGORIES[:2], tmp_path / "m.onnx")


def test_exporting_leaves_the_model_as_it_is(small_file: tuple[Path, Detector]) -> None:
    _, model = small_file
    assert not model.training
    assert model.head.settings.postprocess.candidates == 40


def test_the_file_alone_predicts_as_the_model_does(
    file: Path, model: Detector, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (90, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    detector = OnnxDetector(file)
    assert [(c.id, c.name) for c in detector.card.categories] == [
        (c.id, c.name) for c in CATEGORIES
    ]
    assert Genome.model_validate(detector.card.genome) == model.genome
    assert detector.card.input_size == 128 and detector.card.resize == "letterbox"
    found = detector(tmp_path / "photo.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    wanted = model([tensor])[0]
    area = (wanted["boxes"][:, 2:] - wanted["boxes"][:, :2]).prod(dim=1)
    wanted = {name: value[area > 0] for name, value in wanted.items()}  # not in the padding
    assert len(found.scores) == len(wanted["scores"]) > 20
    assert twins(wanted, found._asdict()).mean() > 0.98
    assert (found.boxes >= 0).all() and (found.boxes <= [200, 90, 200, 90]).all()
    assert found.names == tuple(f"thing {(label - 3) // 7}" for label in found.labels)
    assert (detector(pixels, score=0.9).scores >= 0.9).all()


def test_prediction_needs_no_torch(file: Path) -> None:
    code = (
        "import sys, numpy; from nas.formats.onnx.runtime import OnnxDetector; "
        f"OnnxDetector({str(file)!r})(numpy.zeros((50, 60, 3), numpy.uint8)); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def damaged(proto: ModelProto) -> None:
    next(p for p in proto.metadata_props if p.key == "spinenas.resize").value = '"crop"'


def foreign(proto: ModelProto) -> None:
    del proto.metadata_props[:]


@pytest.mark.parametrize(("change", "says"), [(damaged, "resize"), (foreign, "not a model")])
def test_a_file_without_its_metadata_is_refused(
    change: Callable[[ModelProto], None],
    says: str,
    small_file: tuple[Path, Detector],
    tmp_path: Path,
) -> None:
    proto = onnx.load(small_file[0])
    change(proto)
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(NasError, match=says) as caught:
        OnnxDetector(tmp_path / "other.onnx")
    assert "\n" not in str(caught.value)


def test_no_onnx_file_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    for name, says in (("no.onnx", "can't load"), ("missing.onnx", "no such file")):
        with pytest.raises(NasError, match=says):
            OnnxDetector(tmp_path / name)


def test_given_pictures_are_used_and_scenes_stand_in(tmp_path: Path) -> None:
    paths: Sequence[Path] = [tmp_path / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        Image.new("RGB", (30, 20), (80 * index, 0, 0)).save(path)
    found = pictures(paths, small())
    assert [picture[0, 0, 0] for picture in found] == [0, 80, 160]
    scenes = pictures((), small())
    assert len(scenes) >= 3 and all(p.shape == (128, 128, 3) and p.std() > 5 for p in scenes)
