"""Recorded operators as an ONNX model of a few kilobytes: what a runtime is given to be timed.

Weights aren't stored but made when the file is loaded, where every runtime folds them into
constants. All differ a little, or a runtime would find that two convolutions of one map are the
same; they keep values near those of the input, so that none is too small for full speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from nas.errors import GenomeError
from nas.genome.operators import Operator
from nas.genome.tape import Step, Tape

OPSET, IR_VERSION = 17, 8
BIAS = 0.01


def to_onnx(tape: Tape) -> ModelProto:
    """The model of a tape; its inputs and outputs are those that the tape has recorded."""
    return _Writer(tape.steps).model()


class _Writer:
    """Turns steps into nodes, one after the other."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []
        self.shapes: dict[int, list[int]] = {}
        for step in steps:
            self._add(step)

    def model(self) -> ModelProto:
        """All that was added, as one model."""
        graph = helper.make_graph(self.nodes, "piece", self.inputs, self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)

    def _add(self, step: Step) -> None:
        operator, out = step.operator, f"v{step.gives}"
        reads = [f"v{number}" for number in step.reads]
        shape = [1, operator.channels, operator.size, operator.size]
        if operator.kind == "input":
            self.inputs.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, shape))
        elif operator.kind == "output":
            shape = self.shapes[step.reads[0]]
            self.outputs.append(helper.make_tensor_value_info(reads[0], TensorProto.FLOAT, shape))
        elif operator.kind.startswith(("conv", "depthwise")):
            self._conv(step, reads[0], out)
        elif operator.kind.startswith(("max_pool", "average_pool")):
            self._pool(step, reads[0], out)
        elif operator.kind == "flatten":
            shape = self._flatten(step, reads[0], out)
        elif operator.kind == "join":
            shape = [1, sum(self.shapes[n][1] for n in step.reads), self.shapes[step.reads[0]][2]]
            self._node("Concat", reads, out, axis=1)
        elif operator.kind not in _PLAIN:
            raise GenomeError(
                f"operator {operator.kind!r} can't be measured by itself: this package can't write "
                "it to ONNX; add its times to the table's families by hand"
            )
        else:
            _PLAIN[operator.kind](self, operator, reads, out)
        self.shapes[step.gives] = shape

    def _node(self, kind: str, reads: Sequence[str], out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, reads, [out], **attributes))
        return out

    def _constant(self, name: str, value: Any, kind: Any = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def _filled(self, name: str, shape: Sequence[int], value: float) -> str:
        """A weight; it is made when the file is loaded."""
        size = self._constant(f"{name}_shape", shape, np.int64)
        cell = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
        return self._node("ConstantOfShape", [size], name, value=cell)

    def _conv(self, step: Step, x: str, out: str) -> None:
        operator = step.operator
        kernel, stride = operator.window
        dilation = int(operator.kind.partition(" d")[2] or 1)
        groups = operator.channels if operator.kind.startswith("depthwise") else 1
        fan_in = operator.channels_in // groups * kernel**2
        shape = [operator.channels, operator.channels_in // groups, kernel, kernel]
        own = 1 + step.gives / 1024
        weight = self._filled(f"{out}_weight", shape, own / fan_in)
        bias = self._filled(f"{out}_bias", [operator.channels], own * BIAS)
        self._node(
            "Conv",
            [x, weight, bias],
            out,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[step.padding[0]] * 2 + [step.padding[1]] * 2,
            dilations=[dilation] * 2,
            group=groups,
        )

    def _pool(self, step: Step, x: str, out: str) -> None:
        kernel, stride = step.operator.window
        kind = "MaxPool" if step.operator.kind.startswith("max") else "AveragePool"
        pads = [step.padding[0]] * 2 + [step.padding[1]] * 2
        self._node(kind, [x], out, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def _flatten(self, step: Step, x: str, out: str) -> list[int]:
        last = self._node("Transpose", [x], f"{out}_last", perm=[0, 2, 3, 1])
        shape = self._constant(f"{out}_shape", [1, -1, step.ends], np.int64)
        self._node("Reshape", [last, shape], out)
        return [1, step.operator.channels * step.operator.size**2 // step.ends, step.ends]

    def resize(self, operator: Operator, reads: Sequence[str], out: str) -> None:
        """Nearest neighbours, as PyTorch's exporter writes it."""
        factor = operator.size / operator.size_in
        scales = [self._constant(f"{out}_scale", [1, 1, factor, factor])]
        if operator.size % operator.size_in:
            sides = [1, operator.channels, operator.size, operator.size]
            scales = ["", self._constant(f"{out}_sizes", sides, np.int64)]
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        self._node("Resize", [reads[0], "", *scales], out, mode="nearest", **how)

    def normalize(self, operator: Operator, reads: Sequence[str], out: str) -> None:
        """Two operators on the picture."""
        mean = self._constant(f"{out}_mean", np.full((1, 3, 1, 1), 0.5))
        deviation = self._constant(f"{out}_std", np.full((1, 3, 1, 1), 0.25))
        centred = self._node("Sub", [reads[0], mean], f"{out}_centred")
        self._node("Div", [centred, deviation], out)

    def weigh(self, operator: Operator, reads: Sequence[str], out: str) -> None:
        """One learnt number for the whole map."""
        self._node("Mul", [reads[0], self._constant(f"{out}_factor", 0.9)], out)

    def unit_norm(self, operator: Operator, reads: Sequence[str], out: str) -> None:
        """Divides by the length over channels, and multiplies each channel by its factor."""
        length = self._node("ReduceL2", [reads[0]], f"{out}_length", axes=[1], keepdims=1)
        unit = self._node("Div", [reads[0], length], f"{out}_unit")
        factor = self._constant(f"{out}_factor", np.full((1, operator.channels, 1, 1), 20))
        self._node("Mul", [unit, factor], out)

    def relu6(self, operator: Operator, reads: Sequence[str], out: str) -> None:
        """A clip to 0…6."""
        bounds = [self._constant(f"{out}_low", 0.0), self._constant(f"{out}_high", 6.0)]
        self._node("Clip", [reads[0], *bounds], out)

    def swish(self, operator: Operator, reads: Sequence[str], out: str) -> None:
        """The input times its own sigmoid."""
        self._node("Mul", [reads[0], self._node("Sigmoid", reads, f"{out}_gate")], out)


_Plain = Callable[[_Writer, Operator, Sequence[str], str], Any]


def _named(kind: str, **attributes: Any) -> _Plain:
    def write(writer: _Writer, operator: Operator, reads: Sequence[str], out: str) -> None:
        writer._node(kind, reads, out, **attributes)

    return write


_PLAIN: dict[str, _Plain] = {
    "add": _named("Add"),
    "concat": _named("Concat", axis=1),
    "gate": _named("Mul"),
    "hard_sigmoid": _named("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": _named("HardSwish"),
    "mean": _named("GlobalAveragePool"),
    "nearest": _Writer.resize,
    "normalize": _Writer.normalize,
    "relu": _named("Relu"),
    "relu6": _Writer.relu6,
    "sigmoid": _named("Sigmoid"),
    "swish": _Writer.swish,
    "unit_norm": _Writer.unit_norm,
    "weigh": _Writer.weigh,
}
