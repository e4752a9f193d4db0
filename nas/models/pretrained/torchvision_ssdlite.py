"""torchvision's SSDlite: `ssdlite320_mobilenet_v3_large`, the whole detector."""

from __future__ import annotations

from collections.abc import Sequence

from nas.models.heads.ssd import SSD
from nas.models.pretrained.assignment import (
    Assignment,
    chain,
    class_outputs_note,
    layers_with_state,
)
from nas.models.pretrained.base import WeightSource
from nas.models.pretrained.state_dicts import LayerState, StateDict, blocks_of


class SSDlite(WeightSource):
    """A detector that is taken whole; class outputs are drawn anew for another number."""

    title = "torchvision's SSDlite"
    accepts = "a state dict of torchvision's ssdlite320_mobilenet_v3_large"

    def recognises(self, file: StateDict) -> bool:
        """Tells whether a file has this head's first predictor."""
        first = "head.classification_head.module_list.0.0."
        return any(name.startswith(first) for name in file.tensors)

    def assign(self, file: StateDict, assignment: Assignment) -> str:
        """Assigns the backbone with its extra blocks, then the head."""
        own, blocks = list(chain(assignment.model)), _backbone(file.layers, assignment)
        if len(own) != len(blocks) or len(own) != len(assignment.model.body):
            raise assignment.refusal(
                f"it has {len(blocks)} blocks in a row, the genome {len(own)} of "
                f"{len(assignment.model.body)}"
            )
        for (name, modules), block in zip(own, blocks, strict=True):
            if problem := assignment.misfit(modules, block):
                raise assignment.refusal(f"for block {name!r} it {problem}")
            assignment.assign(modules, block)
        return _assign_head(file.layers, assignment)


def _backbone(layers: Sequence[LayerState], assignment: Assignment) -> list[list[LayerState]]:
    """Returns the file's blocks as the genome has them.

    torchvision cuts the block at stride 32 behind its expansion, which is a map of its own: the
    last block of `features.0` and the first of `features.1` are one.
    """
    first = blocks_of(layers, "backbone.features.0.")
    second = blocks_of(layers, "backbone.features.1.")
    if not first or not second:
        raise assignment.refusal("it has no backbone.features.0 and .1")
    extra = blocks_of(layers, "backbone.extra.")
    return [*first[:-1], first[-1] + second[0], *second[1:], *extra]


def _assign_head(layers: Sequence[LayerState], assignment: Assignment) -> str:
    """Assigns the predictors of each map; returns which outputs stay new."""
    head = assignment.model.head
    if not isinstance(head, SSD):
        raise assignment.refusal(f"its head is an SSD, the genome's {head.settings.type}")
    outputs, new = head.class_outputs(), False
    for kind, predictors in (
        ("classification", head.class_predictors),
        ("regression", head.box_predictors),
    ):
        blocks = blocks_of(layers, f"head.{kind}_head.module_list.")
        if len(blocks) != len(predictors):
            raise assignment.refusal(
                f"its head reads {len(blocks)} maps, the genome's {len(predictors)}"
            )
        for index, (predictor, block) in enumerate(zip(predictors, blocks, strict=True)):
            modules = layers_with_state(predictor)
            if modules[-1] in outputs and assignment.misfit(modules[-1:], block[-1:]):
                new = True
                modules, block = modules[:-1], block[:-1]
            if problem := assignment.misfit(modules, block):
                raise assignment.refusal(f"for the {kind} of map {index} it {problem}")
            assignment.assign(modules, block)
    return class_outputs_note(assignment.model) if new else ""
