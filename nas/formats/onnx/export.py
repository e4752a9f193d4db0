"""Export to ONNX: one file with normalisation, network, post-processing and metadata.

Input: `image` `(1, 3, S, S)` float32, RGB in 0…1. Outputs: `boxes` `(n, 4)` in pixels of the
input, `scores` `(n,)`, `labels` `(n,)` the user's category ids; and the head's raw outputs by
their names. Dense anchors have `logits` `(1, A, K)` and `deltas` `(1, A, 4)`: ty, tx, th, tw under
a RetinaNet head; tx, ty, tw, th times 10, 10, 5, 5 under an SSD head.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn

from nas.data.coco import Category
from nas.errors import NasError
from nas.formats.onnx.metadata import Card, CategoryRow
from nas.formats.onnx.postprocess import DETECTIONS, AnchorTail
from nas.formats.onnx.same_padding import own_pads
from nas.formats.onnx.verify import Agreement, pictures, verify
from nas.formats.writing import checked_file
from nas.models import Detector
from nas.models.heads.anchor_head import AnchorHead

OPSET = 17


def write(
    model: Detector,
    categories: Sequence[Category],
    path: Path,
    images: Sequence[Path] = (),
) -> Agreement:
    """Writes a detector, runs the file with onnxruntime, and keeps it if it agrees with PyTorch.

    Args:
        model: trained; it stays as it is.
        categories: the user's, label k being `categories[k - 1]`.
        path: of the file.
        images: pictures to compare on; without any, built-in scenes.

    Returns:
        How closely the two agree, and on how many detections.

    Raises:
        NasError: the two differ, or the model can't be exported; no file is left behind.
    """
    if len(categories) != model.num_classes - 1:
        raise NasError(
            f"{path}: {len(categories)} categories for a model of {model.num_classes - 1}; "
            "give those that it was trained with"
        )
    still = copy.deepcopy(model).cpu().float().eval()
    ids = [category.id for category in categories]
    with checked_file(path) as new:
        onnx.save(_assembled(still, categories, new), new)
        return verify(new, still, ids, pictures(images, still.genome), name=str(path))


def _assembled(model: Detector, categories: Sequence[Category], path: Path) -> ModelProto:
    """Returns the whole file; `path` is overwritten on the way."""
    head, genome = model.head, model.genome
    ids = [category.id for category in categories]
    tail = head.export_tail()
    if tail is None:
        assert isinstance(head, AnchorHead)  # else it has a tail of its own
        proto = traced(model, path)
        _append(proto, AnchorTail(head, ids))
    else:
        proto = traced(model, path, _Tail(tail, ids))
    card = Card(
        categories=tuple(CategoryRow(id=c.id, name=c.name) for c in categories),
        input_size=genome.input.size,
        resize=genome.input.resize,
        mean=genome.input.mean,
        std=genome.input.std,
        genome=genome.model_dump(mode="json"),
    )
    for key, value in card.to_properties().items():
        proto.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(proto)
    return proto


def _append(proto: ModelProto, tail: AnchorTail) -> None:
    """Adds the operators behind the raw outputs; detections become the first outputs."""
    raw = list(proto.graph.output)
    del proto.graph.output[:]
    proto.graph.output.extend([*tail.outputs, *raw])
    proto.graph.node.extend(tail.nodes)
    proto.graph.initializer.extend(tail.constants)


class _Tail(nn.Module):
    """A head's own tail, with the user's category ids for labels."""

    ids: Tensor

    def __init__(self, tail: nn.Module, ids: Sequence[int]) -> None:
        super().__init__()
        self.tail = tail
        self.register_buffer("ids", torch.tensor([0, *ids], dtype=torch.int64))

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:
        boxes, scores, labels = self.tail(*raw)
        return boxes, scores, self.ids[labels]


class _Traced(nn.Module):
    """What is traced: an image in 0…1 to raw outputs, with what a tail makes of them before."""

    def __init__(self, model: Detector, tail: nn.Module | None) -> None:
        super().__init__()
        self.model, self.tail = model, tail

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        raw = tuple(self.model.raw(image))
        return raw if self.tail is None else (*self.tail(*raw), *raw)


def traced(model: Detector, path: Path, tail: nn.Module | None = None) -> ModelProto:
    """Traces a network to ONNX, up to the raw outputs or through a tail.

    Torch's older exporter: it takes a fifth of the time of the one built on `torch.export` (4 s
    against 24 s on one core), and needs no further package.

    Args:
        model: what is traced, for one image.
        path: of a file that is overwritten.
        tail: from the raw outputs to boxes, scores and labels.
    """
    size = model.genome.input.size
    detections = () if tail is None else DETECTIONS
    with warnings.catch_warnings(), own_pads(model):
        # The exporter is old, and sizes become constants, as they should.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Traced(model, tail).eval(),
            (torch.zeros(1, 3, size, size),),
            path,
            dynamo=False,
            opset_version=OPSET,
            # Folded batch norms would store the head's shared convolutions once for every level.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["image"],
            output_names=[*detections, *model.head.raw_names],
            dynamic_axes={name: {0: "detections"} for name in detections},
        )
    return onnx.load(path)
