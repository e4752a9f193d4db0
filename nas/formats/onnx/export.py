"""Export to ONNX: one file with normalisation, network, post-processing and all that is known.

Input: ``image`` ``(1, 3, S, S)`` float32, RGB in 0…1.  Outputs: ``boxes`` ``(n, 4)`` in pixels of
the input, ``scores`` ``(n,)``, ``labels`` ``(n,)`` the user's category ids; and the raw ``logits``
``(1, A, K)`` and ``deltas`` ``(1, A, 4)`` of all anchors: ty, tx, th, tw under a RetinaNet head;
tx, ty, tw, th times 10, 10, 5, 5 under an SSD head.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn

from nas.data.coco import Category
from nas.errors import NasError
from nas.formats.onnx.metadata import Card, CategoryRow
from nas.formats.onnx.postprocess import Tail
from nas.formats.onnx.same_padding import own_pads
from nas.formats.onnx.verify import Agreement, pictures, verify
from nas.formats.writing import checked_file
from nas.genome import Genome
from nas.models import Detector

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
        categories: the user's, label k being ``categories[k - 1]``.
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


class ONNX:
    """The trained model, for onnxruntime and others."""

    needs_weights: ClassVar[bool] = True

    def write(
        self,
        model: Detector | Genome,
        categories: Sequence[Category],
        path: Path,
        images: Sequence[Path],
    ) -> Agreement:
        """Writes a detector, as `write` does."""
        assert isinstance(model, Detector)  # needs_weights
        return write(model, categories, path, images)


def _assembled(model: Detector, categories: Sequence[Category], path: Path) -> ModelProto:
    """The whole file; ``path`` is overwritten on the way."""
    head, genome = model.head, model.genome
    proto = traced(model, path)
    ids = [category.id for category in categories]
    tail = Tail(head, ids)
    raw = list(proto.graph.output)
    del proto.graph.output[:]
    proto.graph.output.extend([*tail.outputs, *raw])
    proto.graph.node.extend(tail.nodes)
    proto.graph.initializer.extend(tail.constants)
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


class _Raw(nn.Module):
    """What is traced: pictures in 0…1 to raw outputs."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.model.raw(image)
        return raw.logits, raw.code


def traced(model: Detector, path: Path) -> ModelProto:
    """The network as ONNX, up to the raw outputs.

    Torch's older exporter: it takes a fifth of the time of the one built on ``torch.export`` (4 s
    against 24 s on one core), needs no further package, and nothing here depends on the data.
    """
    size = model.genome.input.size
    with warnings.catch_warnings(), own_pads(model):
        # The exporter is old, and sizes become constants, as they should.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Raw(model).eval(),
            (torch.zeros(1, 3, size, size),),
            path,
            dynamo=False,
            opset_version=OPSET,
            # Folded batch norms would store the head's shared convolutions once for every level.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["image"],
            output_names=["logits", "deltas"],
        )
    return onnx.load(path)
