"""Units taken apart: PyTorch counts the same multiply-adds, and its exporter the same nodes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from nas.cost.latency.onnx_writer import to_onnx
from nas.errors import GenomeError
from nas.formats.onnx.export import traced
from nas.formats.onnx.runtime import start_session
from nas.genome import Genome
from nas.genome.operators import Operator
from nas.genome.parts import MimicDetHead, SqueezeExcite
from nas.genome.plan import lower, plan
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from nas.models import build
from search_spaces import zoo
from search_spaces.mobile.listing import (
    EXTRAS,
    BlockStyle,
    LayerSpec,
    Tapped,
    default_boxes,
    genome_from_listing,
    ssdlite_head,
    stage,
)
from search_spaces.spinenet.space import SpineNetSpace
from tests.genome.counting import published
from tests.models.tiny import tiny


def mobile(activation: str = "hard_swish", size: int = 64) -> Genome:
    """Every kind of mobile block, with squeeze-excite, on maps down to one pixel."""
    style = BlockStyle(activation, SqueezeExcite(activation="relu"))  # type: ignore[arg-type]
    rows = (
        *stage([LayerSpec("conv")], 8, 2, BlockStyle(activation)),  # type: ignore[arg-type]
        *stage(
            [LayerSpec("inverted_residual", 5, 4.0), LayerSpec("inverted_residual")], 16, 2, style
        ),
        *stage([LayerSpec("fused_inverted_residual", 3, 4.0)] * 2, 24, 2, style),
        *stage([LayerSpec("tucker", 3, ratios=(0.25, 0.75))] * 2, 40, 2, style),
    )
    taps = [Tapped(4), Tapped(6)]
    head = ssdlite_head(default_boxes(len(taps) + len(EXTRAS)))
    return genome_from_listing(rows, taps, head, extras=EXTRAS).scaled(input_size=size)


def padded(genome: Genome) -> Genome:
    """The same, with TensorFlow's padding in every block that can have it."""
    text = genome.model_dump(mode="json")
    for block in text["blocks"]:
        if block["op"]["type"] in ("conv", "inverted_residual"):
            block["op"]["padding"] = "same"
    return Genome.model_validate(text)


GENOMES = {
    "spinenet-49": tiny(),
    "spinenet drawn": tiny(SpineNetSpace().sample(random.Random(3))),
    "spinenet at an odd size": tiny(SpineNetSpace().sample(random.Random(4)), 160),
    "spinenet-mobile-49": tiny(zoo.genome("spinenet-mobile-49")),
    "mobile blocks": mobile(),
    "mobile blocks, relu6": mobile("relu6"),
    "mobile blocks, padded as TensorFlow": padded(mobile("relu6")),
    "ssdlite": published("ssdlite320-mobilenetv3-large"),
}


def few_blocks(**settings: Any) -> Genome:
    """A genome of SpineNet's space that is exported in a second or two."""
    return tiny(SpineNetSpace(intermediates=1, **settings).sample(random.Random(1)))


EXPORTED = {
    "spinenet": few_blocks(),
    "spinenet-mobile": few_blocks(deploy={"block": "mobile"}),
    "mobile blocks": GENOMES["mobile blocks"],
    "mobile blocks, padded as TensorFlow": GENOMES["mobile blocks, padded as TensorFlow"],
    "ssdlite": GENOMES["ssdlite"],
}


def recorded(genome: Genome, num_classes: int) -> Tape:
    tape = Tape()
    record_plan(tape, plan(genome), num_classes)
    return tape


# --- what is computed -------------------------------------------------------------------------


@pytest.mark.parametrize("genome", GENOMES.values(), ids=GENOMES.keys())
def test_multiply_adds_are_those_that_pytorch_counts(genome: Genome) -> None:
    with torch.device("meta"):
        model = build(genome, 5).eval()
        pictures = torch.empty(1, 3, genome.input.size, genome.input.size)
        with FlopCounterMode(display=False) as counter:
            model.raw(pictures)
    told = sum(operator.macs for operator in recorded(genome, 5).operators)
    assert 2 * told == counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "classes", "macs"),
    [
        # torchvision, SSDLite320_MobileNet_V3_Large_Weights: 0.583 G, counted on the meta device.
        ("ssdlite320-mobilenetv3-large", 91, 583_171_904),
        # torchvision, SSD300_VGG16_Weights: 34.858 G.
        ("ssd300-vgg16", 91, 34_858_000_000),
    ],
)
def test_multiply_adds_are_the_published_ones(name: str, classes: int, macs: int) -> None:
    operators = recorded(published(name), classes).operators
    assert sum(operator.macs for operator in operators) == pytest.approx(macs, rel=1e-5)


def test_what_is_not_known_is_refused_in_one_line() -> None:
    (unit,) = [unit for unit in lower(published("mimicdet-spinenet-49")) if unit.kind == "head"]
    assert isinstance(unit.part, MimicDetHead)
    tape = Tape()
    reads = [tape.value(shape.channels, shape.size) for shape in unit.ins]
    with pytest.raises(GenomeError, match=r"type 'mimicdet' can't be taken apart") as refused:
        unit.record(tape, reads, 91)
    assert "\n" not in str(refused.value)
    with pytest.raises(GenomeError, match="a binary conv"):
        recorded(published("bidet-ssd300"), 21)


# --- as ONNX ----------------------------------------------------------------------------------


def convolution(node: NodeProto, model: ModelProto) -> tuple[object, ...]:
    """What a Conv node computes: weight shape, strides, padding, dilations, groups."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for other in model.graph.node:
        if other.op_type == "ConstantOfShape":
            stored = next(t for t in model.graph.initializer if t.name == other.input[0])
            shapes[other.output[0]] = tuple(numpy_helper.to_array(stored).tolist())
        elif other.op_type == "Identity" and other.input[0] in shapes:
            shapes[other.output[0]] = shapes[other.input[0]]
    told = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }
    names = ("strides", "pads", "dilations", "group")
    return shapes[node.input[1]], *(str(told[name]) for name in names)


def nodes(model: ModelProto) -> Counter[object]:
    """Nodes by what they compute, without what runtimes fold away."""
    folded = {"BatchNormalization", "Constant", "ConstantOfShape", "Identity"}
    return Counter(
        convolution(node, model) if node.op_type == "Conv" else node.op_type
        for node in model.graph.node
        if node.op_type not in folded
    )


@pytest.mark.parametrize("genome", EXPORTED.values(), ids=EXPORTED.keys())
def test_pytorch_s_exporter_writes_the_same_nodes(genome: Genome, tmp_path: Path) -> None:
    exported = traced(build(genome, 5).eval(), tmp_path / "model.onnx")
    assert nodes(to_onnx(recorded(genome, 5))) == nodes(exported)


@pytest.mark.parametrize("genome", GENOMES.values(), ids=GENOMES.keys())
def test_a_file_runs_small_and_with_ordinary_numbers(genome: Genome) -> None:
    model = to_onnx(recorded(genome, 5))
    onnx.checker.check_model(model, full_check=True)
    text = model.SerializeToString()
    assert len(text) < 200_000
    side, values = genome.input.size, start_session(text, 1).run
    logits, code = values(None, {"v0": np.full((1, 3, side, side), 0.5, np.float32)})
    assert logits.shape[:2] == code.shape[:2] and (logits.shape[2], code.shape[2]) == (5, 4)
    for found in (logits, code):
        assert np.isfinite(found).all() and np.abs(found).min() > 1e-6  # far from denormals


def test_a_runtime_finds_no_two_convolutions_the_same(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    model = to_onnx(recorded(mobile(), 5))
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx")
    kinds = [Counter(node.op_type for node in m.graph.node) for m in (model, optimized)]
    assert kinds[0]["Conv"] == kinds[1]["Conv"] > 20
    assert kinds[0]["ConstantOfShape"] and not kinds[1]["ConstantOfShape"]  # folded when loaded


# --- texts ------------------------------------------------------------------------------------


def test_texts_are_read_back() -> None:
    for operator in recorded(mobile(), 5).operators:
        assert Operator.parse(operator.text) == operator
    tape = Tape()
    wide = tape.conv(tape.input(16, 160), 32, kernel=3, stride=2)
    assert [step.operator.text for step in tape.steps][-1] == "conv k3 s2 16@160 > 32@80"
    assert (wide.channels, wide.size) == (32, 80)
    assert Operator.parse("depthwise k5 s2 d2 8@9 > 8@5").window == (5, 2)


@pytest.mark.parametrize(
    "text",
    [
        *("", "conv", "conv k3 s2 16@160", "conv k3 s2 16@160 > 32", "conv k3 16@0 > 1@1"),
        *("CONV 1@1 > 1@1", "conv 1@1 > 1@1\n", "conv 1@1 > 1@123456", "c\x1b 1@1 > 1@1"),
        *("conv -1@1 > 1@1", "conv k3 1@1 > 1@1", "conv k3 s0 1@1 > 1@1", "relu k3 s1 1@1 > 1@1"),
        *("conv k100 s1 1@1 > 1@1", "made_up 1@1 > 1@1", "none 1@1 > 1@1"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no operator"):
        Operator.parse(text)


def test_an_operator_of_another_package_is_counted_and_can_t_be_written_to_be_timed() -> None:
    tape = Tape()
    tape.output(tape.operator("channel_shuffle", tape.input(8, 16), learnt=3))
    operator = tape.steps[1].operator
    assert operator.text == "channel_shuffle 8@16 > 8@16" and tape.steps[1].learnt.others == 3
    with pytest.raises(GenomeError, match="'channel_shuffle' can't be measured by itself"):
        to_onnx(tape)
