"""TensorFlow's SAME padding: sizes, keys and numbers, judged by ONNX's operator of that name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

import nas
from nas.formats.onnx.export import traced
from nas.formats.onnx.runtime import start_session
from nas.genome import Genome, plan
from nas.genome.padding import same_padding
from nas.models.fast_cpu import accelerate
from nas.models.layers import SameConv2d, convolution
from tests.genome.counting import document, published

NAME = "ssdlite320-mobilenetv3-large"


def same_upper(
    x: Tensor, weight: Tensor, stride: int, dilation: int = 1, groups: int = 1
) -> Tensor:
    """onnxruntime's convolution with `auto_pad=SAME_UPPER`, which is TensorFlow's SAME.

    It knows no dilation there, so a dilated kernel is written out with its zeros.
    """
    if dilation > 1:
        extent = dilation * (weight.shape[-1] - 1) + 1
        spread = weight.new_zeros(*weight.shape[:2], extent, extent)
        spread[..., ::dilation, ::dilation] = weight
        weight = spread
    node = helper.make_node(
        "Conv",
        ["x", "weight"],
        ["y"],
        auto_pad="SAME_UPPER",
        strides=[stride] * 2,
        group=groups,
    )
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(tensor.shape))
        for name, tensor in (("x", x), ("weight", weight))
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "conv", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = start_session(model.SerializeToString(), 1)
    (y,) = session.run(None, {"x": x.numpy(), "weight": weight.numpy()})
    return torch.from_numpy(y)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        # By hand, as the published networks have it: even sides behind alone, or more there.
        (160, 3, 2, (0, 1)),
        (160, 5, 2, (1, 2)),
        (5, 3, 2, (1, 1)),
        (7, 5, 2, (2, 2)),
        (8, 5, 1, (2, 2)),
        (8, 1, 2, (0, 0)),
        (8, 4, 1, (1, 2)),
    ],
)
def test_pads(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == pads


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_convolution_gives_what_same_upper_gives(kernel: int, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    if kernel < stride:
        pytest.skip("onnxruntime crops there, where TensorFlow pads by nothing")
    for size in (9, 10, 11, 12):
        for groups, channels in ((1, 6), (4, 4)):
            conv = convolution(4, channels, kernel, stride, "same", dilation, groups)
            x = torch.randn(2, 4, size, size)
            expected = same_upper(x, conv.weight.detach(), stride, dilation, groups)
            with torch.no_grad():
                out = conv(x)
            assert out.shape[-1] == -(-size // stride)
            assert (out - expected).abs().max() < 1e-5


def padded(op: dict[str, Any], size: int) -> Genome:
    """The image through a stem and one block, and a head."""
    block = {"id": "a", "level": op.get("stride", 1), "op": op, "inputs": [{"block": "stem"}]}
    block["level"] = {1: 1, 2: 2, 4: 3}[op.get("stride", 1)]
    stem = {
        "id": "stem",
        "level": 1,
        "op": {"type": "conv", "width": 8, "stride": 2},
        "inputs": [{"block": "image"}],
    }
    boxes = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.5}
    return Genome.model_validate(
        {
            "input": {"size": size},
            "blocks": [stem, block],
            "taps": [{"block": "a"}],
            "head": {"type": "ssd", "anchors": [boxes]},
        }
    )


KINDS: list[dict[str, Any]] = [
    {"type": "conv", "width": 8},
    {"type": "inverted_residual", "width": 8, "shortcut": False},
]


@pytest.mark.parametrize("op", KINDS, ids=["conv", "inverted_residual"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [64, 66])
def test_a_key_differs_where_the_network_does(op: dict[str, Any], stride: int, size: int) -> None:
    """A map of 32 px has an odd pixel at a stride of 2; one of 33, or a stride of 1, has none."""
    plain = padded({**op, "stride": stride}, size)
    same = padded({**op, "stride": stride, "padding": "same"}, size)
    assert (same.key != plain.key) == (stride == 2 and size == 64)
    assert plan(same)[1].outs == plan(plain)[1].outs  # an odd kernel gives one size by both
    assert nas.profile(same).costs() == nas.profile(plain).costs()
    torch.manual_seed(0)
    first = nas.build(plain, 3).eval()
    second = nas.build(same, 3).eval()
    second.load_state_dict(first.state_dict())
    images = torch.rand(1, 3, size, size)
    with torch.no_grad():
        equal = torch.allclose(first.raw(images).logits, second.raw(images).logits)
    assert equal == (same.key == plain.key)


@pytest.mark.parametrize("size", range(64, 70))
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_sizes_are_those_of_the_modules(size: int, kernel: int) -> None:
    for op in KINDS:
        for stride in (1, 2, 4):
            same = padded({**op, "kernel": kernel, "stride": stride, "padding": "same"}, size)
            model = nas.build(same, 3).eval()
            with torch.no_grad():
                (out,) = model.features(torch.zeros(1, 3, size, size))
            expected = math.ceil(math.ceil(size / 2) / stride)
            assert out.shape[-1] == plan(same)[1].outs[0].size == expected


def test_repeated_copies_are_padded_at_their_own_side() -> None:
    op = {"type": "inverted_residual", "width": 8, "stride": 2, "shortcut": False}
    text = padded({**op, "padding": "same"}, 64).model_dump(mode="json")
    text["blocks"][1]["repeats"] = 3
    genome = Genome.model_validate(text)
    model = nas.build(genome, 3)
    built: Any = model.body[plan(genome)[1].name]
    same = [isinstance(copy.depthwise[0], SameConv2d) for copy in built.copies]
    assert same == [True, False, False]


def test_the_default_is_in_no_json() -> None:
    """A genome of before keeps its text; the field comes back where it is set."""
    text: Any = document(NAME)
    genome = Genome.model_validate(text)
    written = json.loads(genome.to_json())
    assert all("padding" not in b["op"] for b in written["blocks"] if "expansion" in b["op"])
    assert written == genome.model_dump(mode="json")
    for block in text["blocks"]:
        if block["op"].get("stride") == 2:
            block["op"]["padding"] = "same"
    same = Genome.model_validate(text)
    assert same.to_json().count('"padding":"same"') == 9  # stem, four stages, four extra blocks
    again = Genome.from_json(same.to_json(indent=1))
    assert again == same and again.key == same.key != genome.key


def test_the_pads_stand_in_the_exported_convolution(tmp_path: Path) -> None:
    text: Any = document(NAME)
    strided = [block for block in text["blocks"] if block["op"].get("stride") == 2]
    for block in strided:
        block["op"]["padding"] = "same"
    torch.manual_seed(0)
    model = accelerate(nas.build(Genome.model_validate(text), 5)).eval()
    classes = [type(module) for module in model.modules()]
    proto = traced(model, tmp_path / "model.onnx")
    assert [type(module) for module in model.modules()] == classes
    assert not [node for node in proto.graph.node if node.op_type == "Pad"]
    pads = [
        tuple(onnx.helper.get_attribute_value(attribute))
        for node in proto.graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "pads"
    ]
    uneven = [p for p in pads if len(set(p)) > 1]
    # Extra blocks read maps of 10, 5, 3 and 2 px, of which two are odd.
    assert sorted(uneven) == sorted([(0, 0, 1, 1)] * 5 + [(1, 1, 2, 2)] * 2)
    image = np.random.default_rng(0).random((1, 3, 320, 320), np.float32)
    session = start_session((tmp_path / "model.onnx").read_bytes(), 1)
    logits, deltas = session.run(["logits", "deltas"], {"image": image})
    with torch.no_grad():
        raw = model.raw(torch.from_numpy(image))
    for found, expected in ((logits, raw.logits), (deltas, raw.deltas)):
        assert np.abs(found - expected.numpy()).max() <= 1e-4 * float(expected.std())


def test_genomes_of_before_keep_their_plain_convolutions() -> None:
    model = nas.build(published(NAME), 5)
    assert not [module for module in model.modules() if isinstance(module, SameConv2d)]
