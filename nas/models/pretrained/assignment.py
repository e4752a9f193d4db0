"""Which layer of a file goes to which module of a model, collected and then copied as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.errors import RunError
from nas.genome import plan
from nas.models import Detector
from nas.models.blocks import FusedBlock
from nas.models.pretrained.chain import blocks_in_a_row
from nas.models.pretrained.state_dicts import COUNTER, LayerState


@dataclass(frozen=True)
class LoadedWeights:
    """What a model has got from a file.

    Attributes:
        source: what the file was recognised as.
        loaded: number of tensors that hold the file's numbers.
        new: number of those that keep their first draw.
        note: which ones these are; empty without any.
    """

    source: str
    loaded: int
    new: int
    note: str = ""

    def __str__(self) -> str:
        """Returns one line for people."""
        new = f", {self.new} made new ({self.note})" if self.new else ""
        return f"{self.loaded} tensors taken from {self.source}{new}"


class Assignment:
    """Collects what goes where; nothing is copied before all of it is known to fit.

    Attributes:
        model: as `build` made it.
        path: of the file, for messages.
    """

    def __init__(self, model: Detector, path: Path) -> None:
        self.model, self.path = model, path
        self._copies: list[tuple[Tensor, Tensor]] = []

    def misfit(self, modules: Sequence[nn.Module], layers: Sequence[LayerState]) -> str:
        """Returns why layers of the file can't be these modules; empty where they can.

        They can where number, order, names of tensors and shapes are the same.
        """
        if len(modules) != len(layers):
            return f"has {len(layers)} layers, the genome's {len(modules)}"
        for module, layer in zip(modules, layers, strict=True):
            own = state_of(module)
            for name, tensor in own.items():
                other = layer.tensors.get(name)
                if other is None or other.shape != tensor.shape:
                    what = "nothing" if other is None else tuple(other.shape)
                    return f"has {what} as {name} of {layer.name}, not {tuple(tensor.shape)}"
            if len(layer.tensors) != len(own):
                return f"has more in {layer.name} than the genome's {', '.join(own)}"
        return ""

    def assign(self, modules: Sequence[nn.Module], layers: Sequence[LayerState]) -> None:
        """Notes that layers, which fit, go to these modules."""
        for module, layer in zip(modules, layers, strict=True):
            for name, tensor in state_of(module).items():
                self._copies.append((tensor, layer.tensors[name]))

    def assign_backbone(self, blocks: Sequence[Sequence[LayerState]]) -> str:
        """Assigns a classifier's blocks, from the image on, as far as they fit.

        The first that differs, and all behind it, keep their first draw: so a classifier starts
        each of its truncations, and what its own last blocks have in common with the genome's.

        Returns:
            Which of the model's tensors stay new, for people.

        Raises:
            RunError: the first block doesn't fit.
        """
        own = list(chain(self.model))
        count, problem = 0, "no block reads the image alone"
        for (name, modules), block in zip(own, blocks, strict=False):
            if problem := self.misfit(modules, block):
                problem = f"for block {name!r} it {problem}"
                break
            self.assign(modules, block)
            count += 1
        if count == 0:
            raise self.refusal(problem)
        whole = count == len(self.model.body)
        return "the head" if whole else f"all behind block {own[count - 1][0]!r}"

    def refusal(self, problem: str) -> RunError:
        """Returns the error of a file that doesn't fit."""
        return RunError(f"{self.path}: weights don't fit the genome: {problem}")

    @torch.no_grad()
    def load(self, source: str, note: str) -> LoadedWeights:
        """Copies all that was assigned into the model."""
        for own, other in self._copies:
            own.copy_(other)
        total = sum(len(state_of(module)) for module in self.model.modules())
        return LoadedWeights(source, len(self._copies), total - len(self._copies), note)


def class_outputs_note(model: Detector) -> str:
    """Returns what is said of class outputs that are drawn anew."""
    return f"the class outputs, for {model.num_classes - 1} classes"


def chain(model: Detector) -> Iterator[tuple[str, list[nn.Module]]]:
    """Yields the blocks that follow each other from the image on, in the listing's order.

    Yields:
        Each block's id, and its layers that have weights; copies of a block one by one.
    """
    units = plan(model.genome)
    names = {unit.block.id: unit.name for unit in units if unit.kind == "block" and unit.block}
    for block in blocks_in_a_row(model.genome):
        built = model.body[names[block.id]]
        assert isinstance(built, FusedBlock)
        for copy in built.copies:
            if layers := layers_with_state(copy):
                yield block.id, layers


def layers_with_state(module: nn.Module) -> list[nn.Module]:
    """Returns the modules inside one, itself included, that have weights of their own."""
    return [layer for layer in module.modules() if state_of(layer)]


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Returns a module's own weights and statistics, as a state dict has them."""
    buffers = {
        name: buffer
        for name, buffer in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set and name != COUNTER
    }
    return {**dict(module.named_parameters(recurse=False)), **buffers}
