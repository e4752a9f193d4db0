"""Weights to start from: our own models, and torchvision's detectors and classifiers.

A file is recognised by its names.  Its layers are then laid along the genome's listing, block by
block from the image on, and have to fit in kind and shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.errors import RunError
from nas.genome import Genome, plan
from nas.genome.blocks import IMAGE, Block, Edge
from nas.genome.plan import lower
from nas.models import Detector
from nas.models.blocks import FusedBlock
from nas.models.heads.ssd import SSD
from nas.training import checkpoint, weights
from nas.training.state_dicts import (
    COUNTER,
    Layer,
    blocks_of,
    check_tensor,
    is_ours,
    layers_of,
    read_state_dict,
)

LAYOUTS = (
    "a model.safetensors or checkpoint of nas train, or a state dict of torchvision's "
    "ssdlite320_mobilenet_v3_large, mobilenet_v3_large, mobilenet_v3_small or mobilenet_v2"
)


@dataclass(frozen=True)
class Taken:
    """What a model has taken from a file.

    Attributes:
        source: what the file was recognised as.
        taken: tensors that hold the file's numbers; made_new: those that keep their first draw.
        note: which ones these are; empty without any.
    """

    source: str
    taken: int
    made_new: int
    note: str = ""

    def __str__(self) -> str:
        """One line for people."""
        new = f", {self.made_new} made new ({self.note})" if self.made_new else ""
        return f"{self.taken} tensors taken from {self.source}{new}"


def start_from(model: Detector, path: Path) -> Taken:
    """Fills a new detector from a file; what isn't in it keeps its first draw.

    Args:
        model: as ``build`` made it.
        path: a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Raises:
        RunError: the file can't be read, isn't known, or doesn't fit; the model is as it was.
    """
    if path.is_dir():
        raise RunError(f"{path}: is a folder; name a file in it, such as model.safetensors")
    if is_ours(path):
        return _from_own(model, path)
    layers = layers_of(read_state_dict(path))
    names = {layer.name for layer in layers}
    if any(name.startswith("head.classification_head.module_list.0.0.") for name in names):
        return _from_ssdlite(model, layers, path)
    if "features.0.0" in names and any(".block." in name for name in names):
        return _from_classifier(model, layers, path, "a MobileNetV3 of torchvision")
    if "features.0.0" in names and any(name.startswith("features.1.conv.") for name in names):
        return _from_classifier(model, layers, path, "a MobileNetV2 of torchvision")
    first = next(iter(sorted(names)), "")
    raise RunError(f"{path}: unknown layout (it has {ascii(first)[1:-1]!r}); legal: {LAYOUTS}")


class _Filling:
    """Collects what goes where, and copies only when all of it fits."""

    def __init__(self, model: Detector, path: Path) -> None:
        self.model, self.path = model, path
        self.copies: list[tuple[Tensor, Tensor]] = []

    def fits(self, own: Sequence[nn.Module], layers: Sequence[Layer]) -> str:
        """Why layers of the file can't be these modules; empty when they can."""
        if len(own) != len(layers):
            return f"has {len(layers)} layers, the genome's {len(own)}"
        for module, layer in zip(own, layers, strict=True):
            for name, tensor in _state(module).items():
                met = layer.tensors.get(name)
                if met is None or met.shape != tensor.shape:
                    what = "nothing" if met is None else tuple(met.shape)
                    return f"has {what} as {name} of {layer.name}, not {tuple(tensor.shape)}"
            if len(layer.tensors) != len(_state(module)):
                return f"has more in {layer.name} than the genome's {', '.join(_state(module))}"
        return ""

    def take(self, own: Sequence[nn.Module], layers: Sequence[Layer]) -> None:
        """Notes layers that fit."""
        for module, layer in zip(own, layers, strict=True):
            for name, tensor in _state(module).items():
                self.copies.append((tensor, layer.tensors[name]))

    @torch.no_grad()
    def done(self, source: str, note: str) -> Taken:
        """Copies everything noted."""
        for own, met in self.copies:
            own.copy_(met)
        total = sum(len(_state(module)) for module in self.model.modules())
        return Taken(source, len(self.copies), total - len(self.copies), note)

    def refuse(self, what: str) -> RunError:
        """The error of a file that doesn't fit."""
        return RunError(f"{self.path}: weights don't fit the genome: {what}")


def _from_own(model: Detector, path: Path) -> Taken:
    """A model or checkpoint of ours: all fits by name, but for the outputs of other classes."""
    source, tensors = _own_tensors(path)
    filling, theirs = _Filling(model, path), {layer.name: layer for layer in layers_of(tensors)}
    outputs, new = {id(module) for module in model.head.class_outputs()}, False
    for name, module in model.named_modules():
        if not _state(module):
            continue
        layer = theirs.pop(name, Layer(name, {}))
        problem = filling.fits([module], [layer])
        if problem and id(module) in outputs and layer.tensors:
            new = True
        elif problem:
            raise filling.refuse(f"it {problem}")
        else:
            filling.take([module], [layer])
    for name in theirs:
        raise filling.refuse(f"it has {ascii(name)[1:-1]}, which the genome hasn't")
    return filling.done(source, _classes_note(model) if new else "")


def _own_tensors(path: Path) -> tuple[str, dict[str, Tensor]]:
    """What the file is, and its weights: of a checkpoint the averaged ones, where it has them."""
    tensors, header = checkpoint.read_tensors(path)
    header = header if isinstance(header, dict) else {}
    unfinished = "identity" in header
    wanted = checkpoint.VERSION if unfinished else weights.VERSION
    if header.get("version") != wanted:
        raise RunError(
            f"{path}: is of version {header.get('version')!a}, not {wanted}; give a model or "
            "checkpoint that this release has written"
        )
    if unfinished:
        averaged = any(name.startswith("ema.module.") for name in tensors)
        prefix = "ema.module." if averaged else "model."
        tensors = {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
    for name, tensor in tensors.items():
        check_tensor(tensor, f"{path}: {ascii(name)[1:-1]}")
    return f"a {'checkpoint' if unfinished else 'model'} of nas train", tensors


def _classes_note(model: Detector) -> str:
    return f"the class outputs, for {model.num_classes - 1} classes"


def _from_ssdlite(model: Detector, layers: list[Layer], path: Path) -> Taken:
    """torchvision's SSDlite: the whole network, class outputs made new for another number."""
    source, filling = "torchvision's SSDlite", _Filling(model, path)
    first = blocks_of(layers, "backbone.features.0.")
    second = blocks_of(layers, "backbone.features.1.")
    if not first or not second:
        raise filling.refuse("it has no backbone.features.0 and .1")
    # The block at stride 32 is cut behind its expansion, which is a map of its own.
    blocks = [*first[:-1], first[-1] + second[0], *second[1:]]
    blocks += blocks_of(layers, "backbone.extra.")
    own = list(_chain(model))
    if len(own) != len(blocks) or len(own) != len(model.body):
        raise filling.refuse(
            f"it has {len(blocks)} blocks in a row, the genome {len(own)} of {len(model.body)}"
        )
    for (name, modules), block in zip(own, blocks, strict=True):
        if problem := filling.fits(modules, block):
            raise filling.refuse(f"for block {name!r} it {problem}")
        filling.take(modules, block)
    note = _take_ssdlite_head(filling, layers)
    return filling.done(source, note)


def _take_ssdlite_head(filling: _Filling, layers: list[Layer]) -> str:
    head = filling.model.head
    if not isinstance(head, SSD):
        raise filling.refuse(f"its head is an SSD, the genome's {head.settings.type}")
    outputs = head.class_outputs()
    new = 0
    for part, predictors in (
        ("classification", head.class_predictors),
        ("regression", head.box_predictors),
    ):
        met = blocks_of(layers, f"head.{part}_head.module_list.")
        if len(met) != len(predictors):
            raise filling.refuse(f"its head reads {len(met)} maps, the genome's {len(predictors)}")
        for index, (predictor, block) in enumerate(zip(predictors, met, strict=True)):
            modules = _with_state(predictor)
            if modules[-1] in outputs and filling.fits(modules[-1:], block[-1:]):
                new += len(_state(modules[-1]))
                modules, block = modules[:-1], block[:-1]
            if problem := filling.fits(modules, block):
                raise filling.refuse(f"for the {part} of map {index} it {problem}")
            filling.take(modules, block)
    return _classes_note(filling.model) if new else ""


def _from_classifier(model: Detector, layers: list[Layer], path: Path, source: str) -> Taken:
    """A classifier's backbone: blocks from the image on, as far as they fit."""
    filling = _Filling(model, path)
    blocks = blocks_of(layers, "features.")
    own = list(_chain(model))
    count, problem = 0, "no block reads the image alone"
    for (name, modules), block in zip(own, blocks, strict=False):
        if problem := filling.fits(modules, block):
            problem = f"for block {name!r} it {problem}"
            break
        filling.take(modules, block)
        count += 1
    if count == 0:
        raise filling.refuse(problem)
    whole = count == len(model.body)
    return filling.done(source, "the head" if whole else f"all behind block {own[count - 1][0]!r}")


def _chain(model: Detector) -> Iterator[tuple[str, list[nn.Module]]]:
    """The genome's blocks that follow each other from the image on, in the listing's order.

    Yields:
        Each block's id, and its layers that have weights; copies of a block one by one.
    """
    units = plan(model.genome)
    names = {unit.block.id: unit.name for unit in units if unit.kind == "block" and unit.block}
    for block in _row(model.genome):
        built = model.body[names[block.id]]
        assert isinstance(built, FusedBlock)
        for copy in built.copies:
            if layers := _with_state(copy):
                yield block.id, layers


def _row(genome: Genome) -> Iterator[Block]:
    before = IMAGE
    for unit in lower(genome):
        block = unit.block
        if unit.kind != "block" or block is None:
            return
        if block.inputs != (Edge(block=before),):
            return
        yield block
        before = block.id


def _with_state(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if _state(layer)]


def _state(module: nn.Module) -> dict[str, Tensor]:
    """A module's own weights and statistics, as a state dict has them."""
    buffers = {
        name: buffer
        for name, buffer in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set and name != COUNTER
    }
    return {**dict(module.named_parameters(recurse=False)), **buffers}
