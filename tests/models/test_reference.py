"""The model against numbers of the authors' own code; see reference/README.md."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.genome import plan
from nas.models import Detector, build
from nas.models.blocks.inverted_residual import InvertedResidualBlock
from nas.models.box_coder import RETINANET_BOX_CODER
from nas.models.edges.separable import Separable
from nas.models.heads.anchor_head import RawOutputs
from nas.models.heads.retinanet import SeparableConv
from nas.models.matcher import match
from search_spaces import zoo
from search_spaces.spinenet.listing import SpineNetDeploySettings, genome_from_listing
from search_spaces.spinenet.zoo import SPINENET_49_ROWS

CLASSES = 11
LEVELS = range(3, 8)
DEPLOYED = {
    "spinenet_tiny_swish": SpineNetDeploySettings(
        width=0.125,
        alpha=0.5,
        endpoints=32,
        head_depth=4,
        head_width=32,
        activation="swish",
        anchor_size=3,
        input_size=256,
    ),
    "spinenet_tiny_relu_repeat2": SpineNetDeploySettings(
        width=0.13,
        alpha=1.0,
        repeats=2,
        endpoints=24,
        head_depth=2,
        head_width=24,
        anchor_size=4,
        input_size=128,
    ),
}
NETS = sorted(DEPLOYED)
MOBILE = "spinenet_mobile_49xs"

# --- the authors' weights, by their rule ------------------------------------------------------


def drawn(variables: list[str]) -> list[tuple[str, Tensor]]:
    """Name and value of each variable, kernels as PyTorch has them: out, in, H, W."""
    found = []
    for i, variable in enumerate(variables):
        name, _, dimensions = variable.rpartition(" ")
        shape = tuple(int(size) for size in dimensions.split("x"))
        rng = np.random.RandomState(1000 + i)
        if name.endswith("depthwise_kernel:0"):
            value = rng.randn(*shape) / np.sqrt(np.prod(shape[:2]))
        elif name.endswith("kernel:0"):
            value = rng.randn(*shape) / np.sqrt(np.prod(shape[:-1]))
        elif name.endswith("gamma:0"):
            value = rng.uniform(0.5, 1, shape)
        elif name.endswith("moving_variance:0"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = 0.1 * rng.randn(*shape)
        tensor = torch.from_numpy(value.astype(np.float32))
        if tensor.ndim == 4:
            # A depthwise kernel is H, W, in, 1 there, and in, 1, H, W here.
            tensor = tensor.permute((2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1))
        found.append((name, tensor))
    return found


def body_layers(model: Detector) -> Iterator[nn.Module]:
    """Convolutions and norms in the order in which the authors create them."""
    units = [unit for unit in plan(model.genome) if unit.kind != "head"]
    ids = {unit.name: unit.block.id for unit in units if unit.block and unit.kind == "block"}
    modules = model.body
    edges = {
        (unit.block.id, ids[unit.inputs[0].unit]): modules[unit.name]
        for unit in units
        if unit.block and unit.kind == "edge"
    }
    blocks = {block: modules[name] for name, block in ids.items()}
    for block in model.genome.blocks:
        for edge in block.inputs:
            resampling: Any = edges.get((block.id, edge.block))
            if resampling is not None:
                yield from (layer for step in edge_steps(resampling) for layer in step)
        yield from block_layers(blocks[block.id])
    for unit in units:
        if unit.kind == "endpoint":
            endpoint: Any = modules[unit.name]
            yield from endpoint


def edge_steps(edge: Any) -> list[Any]:
    """Convolutions of an edge, each with what follows it."""
    if isinstance(edge, Separable):
        return [*edge.down, edge.project]
    return [step for step in (edge.reduce, edge.down, edge.expand) if step is not None]


def block_layers(block: Any) -> Iterator[nn.Module]:
    """A projection shortcut comes before the block's own convolutions."""
    for copy in block.copies:
        if isinstance(copy, InvertedResidualBlock):
            attend: Any = copy.attend
            for step in (copy.expand, copy.depthwise, (attend.fc1, attend.fc2), copy.project):
                yield from step  # type: ignore[misc]
        elif hasattr(copy, "project"):
            steps = ("project", "reduce", "conv", "expand", "conv0", "conv1")
            for step in (getattr(copy, name) for name in steps if hasattr(copy, name)):
                if not isinstance(step, nn.Identity):
                    yield from step
        elif isinstance(copy, nn.Sequential):
            yield from copy


def fill(layer: nn.Module, values: Iterator[Tensor]) -> None:
    """Weights in the order kernel, bias or gamma, beta, moving mean, moving variance."""
    if isinstance(layer, SeparableConv):
        fill(layer.depthwise, values)
    if isinstance(layer, nn.Conv2d):
        targets = [layer.weight] + ([layer.bias] if layer.bias is not None else [])
    elif isinstance(layer, nn.BatchNorm2d):
        assert layer.running_mean is not None and layer.running_var is not None
        targets = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
    else:
        targets = []
    for target in targets:
        value = next(values)
        assert target.shape == value.shape
        target.data.copy_(value)


def load(model: Detector, variables: list[str]) -> None:
    """Fills the whole model; the head's variables go by name."""
    named = drawn(variables)
    body = iter([value for name, value in named if not name.startswith("retinanet/")])
    for layer in body_layers(model):
        fill(layer, body)
    assert next(body, None) is None
    head = {name.removeprefix("retinanet/"): v for name, v in named if name.startswith("retinanet")}
    for kind, tower in (("class", model.head.class_tower), ("box", model.head.box_tower)):
        for i, conv in enumerate(tower.convs):
            prefix = f"{kind}_net/{kind}-{i}"
            fill(conv, iter([head.pop(f"{prefix}/{part}:0") for part in weights_of(conv)]))
            for level in LEVELS:
                norms: Any = tower.norms[level - 3]
                parts = ("gamma", "beta", "moving_mean", "moving_variance")
                fill(norms[i], iter([head.pop(f"{prefix}-{level}/{part}:0") for part in parts]))
        prefix, predict = f"{kind}_net/{kind}-predict", tower.predict
        fill(predict, iter([head.pop(f"{prefix}/{part}:0") for part in weights_of(predict)]))
    assert not head


def weights_of(conv: nn.Module) -> tuple[str, ...]:
    """The authors' names for the parts of a head's convolution."""
    if isinstance(conv, SeparableConv):
        return ("depthwise_kernel", "pointwise_kernel", "bias")
    return ("kernel", "bias")


# --- what the model says ----------------------------------------------------------------------


class Run(NamedTuple):
    """The model with the authors' weights, and its outputs on the authors' batch."""

    model: Detector
    expected: Any
    maps: list[Tensor]
    raw: RawOutputs
    boxes: Tensor
    labels: Tensor


@cache
def ran(net: str) -> Run:
    expected = np.load(Path(__file__).parent / "reference" / f"{net}.npz")
    if net == MOBILE:
        genome = zoo.genome("spinenet-mobile-49xs")
    else:
        genome = genome_from_listing(SPINENET_49_ROWS, DEPLOYED[net])
    model = build(genome, CLASSES).eval()
    load(model, expected["variables"].item().decode().splitlines())
    size = model.genome.input.size
    batch = np.random.RandomState(999).randn(2, size, size, 3).astype(np.float32)
    with torch.no_grad():
        maps = model.features(torch.from_numpy(batch).permute(0, 3, 1, 2))
        raw = model.head(maps)
    boxes = torch.zeros(2, 3, 4)
    boxes[0] = torch.tensor([[30, 20, 70, 80], [120, 100, 250, 220], [5, 5, 19, 17]])
    boxes[1, 0] = torch.tensor([10, 60, 240, 200])
    labels = torch.tensor([[1, 10, 3], [2, 0, 0]])
    return Run(model, expected, maps, raw, boxes * size / 256, labels)


def by_level(values: Tensor, run: Run) -> dict[int, Tensor]:
    """`(2, A, V)` of all anchors as `(2, S, S, 9, V)` by level."""
    sides = [m.shape[-1] for m in run.maps]
    parts = values.split([9 * side * side for side in sides], dim=1)
    return {
        level: part.reshape(2, side, side, 9, -1)
        for level, side, part in zip(LEVELS, sides, parts, strict=True)
    }


def assert_near(found: Tensor, run: Run, name: str) -> None:
    every = int(run.expected[f"{name}_every"])
    values = found.flatten()[::every].numpy()
    wanted = run.expected[f"{name}_values"]
    assert values.shape == wanted.shape
    assert len(wanted) >= 40
    assert np.abs(values - wanted).max() < 1e-5 * run.expected[f"{name}_std"]


@pytest.mark.parametrize("net", [*NETS, MOBILE])
@pytest.mark.parametrize("level", LEVELS)
def test_endpoints_and_head_outputs(net: str, level: int) -> None:
    run = ran(net)
    assert_near(run.maps[level - 3].permute(0, 2, 3, 1), run, f"P{level}")
    assert_near(by_level(run.raw.logits, run)[level], run, f"cls{level}")
    assert_near(by_level(run.raw.deltas, run)[level], run, f"box{level}")


@pytest.mark.parametrize("net", NETS)
def test_anchors(net: str) -> None:
    run = ran(net)
    anchors = run.model.head.anchors[:, [1, 0, 3, 2]].numpy()
    assert len(anchors) == run.expected["n_anchors"]
    np.testing.assert_array_equal(anchors[:18], run.expected["anchors_head"])
    # numpy adds in the stored sums' order, so that even float32's rounding is the same.
    np.testing.assert_allclose(anchors.sum(0), run.expected["anchors_sum"], rtol=1e-6)


@pytest.mark.parametrize("net", NETS)
def test_targets(net: str) -> None:
    run = ran(net)
    anchors = run.model.head.anchors
    found = match(anchors, run.boxes, run.labels, threshold=0.5)
    assert torch.bincount(found.images).tolist() == run.expected["num_positives"].tolist()
    classes = torch.full((2, len(anchors), 1), -1)
    classes[found.images, found.anchors, 0] = run.labels[found.images, found.objects]
    codes = torch.zeros(2, len(anchors), 4)
    wanted = run.boxes[found.images, found.objects]
    codes[found.images, found.anchors] = RETINANET_BOX_CODER.encode(wanted, anchors[found.anchors])
    for level in LEVELS:
        expected = torch.from_numpy(run.expected[f"class_targets{level}"].astype(np.int64))
        assert torch.equal(by_level(classes, run)[level][..., 0], expected)
        code = by_level(codes, run)[level].flatten(3)  # (2, S, S, 36), as channels
        index = run.expected[f"box_targets_index{level}"]
        stored = np.zeros(code.shape, np.float32)
        stored[tuple(index.T.astype(int))] = run.expected[f"box_targets_value{level}"]
        np.testing.assert_allclose(code, stored, atol=2e-6)


@pytest.mark.parametrize("net", NETS)
def test_losses(net: str) -> None:
    run = ran(net)
    with torch.no_grad():
        losses = run.model.head.losses(run.maps, run.boxes, run.labels)
    assert float(losses["classification"]) == pytest.approx(float(run.expected["class_loss"]), 1e-4)
    box_loss = 50 * float(run.expected["box_loss"])
    assert float(losses["box_regression"]) == pytest.approx(box_loss, 1e-4)
