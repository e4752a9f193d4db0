"""The exported file of a detector with an SSD head against PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, numpy_helper

from nas.data.coco import Category
from nas.errors import NasError
from nas.formats.onnx.export import write
from nas.formats.onnx.runtime import OnnxDetector, as_input
from nas.formats.onnx.verify import verify
from nas.models import Detector
from tests.genome.counting import published
from tests.models.ssdlite import NAME, livened
from tests.models.tiny import built

CATEGORIES = tuple(Category(7 * k + 3, f"thing {k}") for k in range(5))
IDS = [category.id for category in CATEGORIES]
SIZE = 128


def small_model(candidates: int = 300, seed: int = 0) -> Detector:
    """SSDlite at a quarter of its width and 128 px, with weights that find a lot."""
    genome = published(NAME).scaled(width=0.25, input_size=SIZE)
    post = genome.head.postprocess.replace(candidates=candidates, detections=100)
    torch.manual_seed(seed)
    model = built(genome.replace(head=genome.head.replace(postprocess=post)), 1 + len(CATEGORIES))
    livened(model)
    with torch.no_grad():
        for layer in model.head.box_predictors:
            layer[-1].weight.mul_(0.2)
    return model.eval()


def noise(count: int) -> list[np.ndarray]:
    shape = (count, SIZE, SIZE, 3)
    return list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture(scope="module", params=[300, 20])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Detector]:
    """With and without a limit on candidates that bites."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    model = small_model(request.param)
    agreement = write(model, CATEGORIES, path)
    assert agreement.detections > 100
    return path, model


def test_every_detection_has_its_twin(exported: tuple[Path, Detector]) -> None:
    path, model = exported
    assert len(model.head.anchors) == 6 * (64 + 16 + 4 + 1 + 1 + 1)
    session, shares = OnnxDetector(path).session, []
    for picture in noise(3):
        with torch.no_grad():
            raw = model.raw(torch.from_numpy(picture).permute(2, 0, 1)[None])
        names = ["boxes", "scores", "labels", "logits", "deltas"]
        boxes, scores, labels, *own = session.run(names, {"image": as_input(picture)})
        for met, wanted in zip(own, raw, strict=True):
            assert np.abs(met - wanted.numpy()).max() <= 1e-4 * wanted.abs().max().item()
        expected = model.head.postprocess(raw)[0]
        assert len(scores) == len(expected["scores"]) > 50
        near = np.abs(expected["scores"].numpy()[:, None] - scores) < 1e-4
        near &= np.array([0, *IDS])[expected["labels"].numpy()][:, None] == labels
        near &= np.abs(expected["boxes"].numpy()[:, None] - boxes).max(axis=2) < 0.02
        shares.append(near.any(axis=1).mean())
    assert np.mean(shares) > 0.98  # NMS may decide a tie within rounding either way


def test_the_card_says_how_a_picture_is_resized(exported: tuple[Path, Detector]) -> None:
    detector = OnnxDetector(exported[0])
    assert detector.card.resize == "stretch"
    found = detector(np.random.default_rng(1).integers(0, 256, (90, 200, 3), dtype=np.uint8))
    assert len(found.scores) > 0
    assert (found.boxes <= [200, 90, 200, 90]).all()


def other_variances(proto: ModelProto) -> None:
    """Boxes by RetinaNet's code."""
    weights = next(t for t in proto.graph.initializer if t.name == "postprocess/code_weights")
    ones = np.ones(4, dtype=np.float32)
    weights.CopyFrom(numpy_helper.from_array(ones, weights.name))


def other_scores(proto: ModelProto) -> None:
    """Classes that don't compete."""
    softmax = next(node for node in proto.graph.node if node.name == "postprocess/probabilities")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]


@pytest.mark.parametrize("change", [other_variances, other_scores])
def test_a_file_that_says_something_else_is_found_out(
    change: object, exported: tuple[Path, Detector], tmp_path: Path
) -> None:
    path, model = exported
    proto = onnx.load(path)
    assert callable(change)
    change(proto)
    onnx.save(proto, tmp_path / "changed.onnx")
    with pytest.raises(NasError, match=r"changed\.onnx.*disagrees"):
        verify(tmp_path / "changed.onnx", model, IDS, noise(2))
