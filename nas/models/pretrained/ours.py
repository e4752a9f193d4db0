"""This toolkit's own files: models and checkpoints of `nas train`."""

from __future__ import annotations

from torch import Tensor

from nas.errors import RunError
from nas.files import MODEL_VERSION
from nas.models.pretrained.assignment import Assignment, class_outputs_note, state_of
from nas.models.pretrained.base import WeightSource
from nas.models.pretrained.state_dicts import LayerState, StateDict, check_tensor, layers_of
from nas.models.tensor_file import CHECKPOINT_VERSION


class Ours(WeightSource):
    """A model or checkpoint of one genome: all fits by name, but the outputs of other classes."""

    title = "nas train"
    accepts = "a model.safetensors or checkpoint of nas train"

    def recognises(self, file: StateDict) -> bool:
        """Tells whether this toolkit wrote a file, by its header."""
        return file.header is not None

    def describe(self, file: StateDict) -> str:
        """Returns which of the two a file is."""
        return f"a {'checkpoint' if _is_checkpoint(file) else 'model'} of nas train"

    def assign(self, file: StateDict, assignment: Assignment) -> str:
        """Assigns every layer by its name."""
        model, new = assignment.model, False
        layers = {layer.name: layer for layer in layers_of(_weights(file))}
        outputs = {id(module) for module in model.head.class_outputs()}
        for name, module in model.named_modules():
            if not state_of(module):
                continue
            layer = layers.pop(name, LayerState(name, {}))
            problem = assignment.misfit([module], [layer])
            if problem and id(module) in outputs and layer.tensors:
                new = True  # there are other classes, and their outputs are learnt anew
            elif problem:
                raise assignment.refusal(f"it {problem}")
            else:
                assignment.assign([module], [layer])
        for name in layers:
            raise assignment.refusal(f"it has {ascii(name)[1:-1]}, which the genome hasn't")
        return class_outputs_note(model) if new else ""


def _is_checkpoint(file: StateDict) -> bool:
    return "identity" in (file.header or {})


def _weights(file: StateDict) -> dict[str, Tensor]:
    """Returns a file's weights, checked: of a checkpoint the averaged ones, where it has them.

    Raises:
        RunError: it is of another version, or has numbers that aren't finite.
    """
    version = (file.header or {}).get("version")
    expected = CHECKPOINT_VERSION if _is_checkpoint(file) else MODEL_VERSION
    if version != expected:
        raise RunError(
            f"{file.path}: is of version {version!a}, not {expected}; give a model or "
            "checkpoint that this release has written"
        )
    prefix = ""
    if _is_checkpoint(file):
        averaged = any(name.startswith("ema.module.") for name in file.tensors)
        prefix = "ema.module." if averaged else "model."
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in file.tensors.items()
        if name.startswith(prefix)
    }
    for name, tensor in weights.items():
        check_tensor(tensor, f"{file.path}: {ascii(name)[1:-1]}")
    return weights
