"""What isn't a legal genome is refused in one line that names the place and what is legal."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import GenomeError
from nas.genome import Genome, plan
from nas.genome.listing import resolve
from search_spaces import zoo
from tests.genome.counting import document

Document = dict[str, Any]
Change = Callable[[Document], None]


def conv(name: str, parents: list[str], level: int = 1, **op: Any) -> Document:
    fields = {"type": "conv", "width": 8, **op}
    return {
        "id": name,
        "level": level,
        "op": fields,
        "inputs": [{"block": parent} for parent in parents],
    }


def small() -> Document:
    """A stem, two branches and their sum at level 1, and one map for an SSD head."""
    boxes = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.4}
    return {
        "input": {"size": 64},
        "blocks": [
            conv("stem", ["image"], stride=2),
            conv("left", ["stem"]),
            conv("right", ["stem"], kernel=1),
            conv("both", ["left", "right"]),
        ],
        "taps": [{"block": "both"}],
        "head": {"type": "ssd", "anchors": [boxes]},
    }


def put(*path: Any) -> Change:
    """Sets the value that comes last at the path before it."""

    def change(document: Document) -> None:
        target: Any = document
        for step in path[:-2]:
            target = target[step]
        target[path[-2]] = path[-1]

    return change


def append(block: Document) -> Change:
    """Lists one more block and taps it."""

    def change(document: Document) -> None:
        document["blocks"].append(block)
        document["taps"] = [{"block": block["id"]}]

    return change


def several(*changes: Change) -> Change:
    def change(document: Document) -> None:
        for one in changes:
            one(document)

    return change


ALPHA = {"type": "alpha", "alpha": 0.5}
OCTAVE = {"type": "octave"}
RETINANET = {"type": "retinanet", "anchors": [OCTAVE]}
BOXES = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.4}

# Each row: a change of the small genome, and what the message has to name.
REFUSED: dict[str, tuple[Change, list[str]]] = {
    "unknown parent": (
        put("blocks", 1, "inputs", 0, "block", "stemm"),
        ["block 'left'", "'stemm'", "legal", "stem"],
    ),
    "forward reference": (
        put("blocks", 1, "inputs", 0, "block", "right"),
        ["block 'left'", "'right'", "listed before", "legal: stem"],
    ),
    "itself": (put("blocks", 1, "inputs", 0, "block", "left"), ["block 'left'", "legal"]),
    "cycle": (
        several(
            put("blocks", 1, "inputs", 0, "block", "right"),
            put("blocks", 2, "inputs", 0, "block", "left"),
        ),
        ["block 'left'", "'right'", "legal"],
    ),
    "duplicate id": (put("blocks", 2, "id", "left"), ["block 'left'", "taken"]),
    "the image's name": (put("blocks", 1, "id", "image"), ["block 'image'", "taken"]),
    "channels under a sum": (
        put("blocks", 2, "op", "width", 12),
        ["block 'both'", "8 and 12 channels", "'right'", "legal"],
    ),
    "sizes under a sum": (
        several(put("blocks", 2, "op", "stride", 2), put("blocks", 2, "level", 2)),
        ["block 'both'", "32 and 16 px", "'right'", "legal"],
    ),
    "level without stride": (
        put("blocks", 1, "level", 2),
        ["block 'left'", "level 2", "stride 1", "legal"],
    ),
    "stride without level": (
        put("blocks", 1, "op", "stride", 2),
        ["block 'left'", "level 1", "stride 2", "legal"],
    ),
    "expand of a bottleneck": (
        several(
            put("blocks", 1, "op", {"type": "bottleneck", "width": 2}),
            put("taps", [{"block": "left", "point": "expand"}]),
        ),
        ["tap", "'expand'", "'left'", "bottleneck", "inverted_residual"],
    ),
    "expand of the image": (
        put("blocks", 0, "inputs", [{"block": "image", "point": "expand"}]),
        ["block 'stem'", "'expand'", "image", "inverted_residual"],
    ),
    "tap of nothing": (put("taps", [{"block": "top"}]), ["tap", "'top'", "legal: stem"]),
    "no taps": (put("taps", []), ["taps", "at least 1"]),
    "no blocks": (put("blocks", []), ["blocks", "at least 1"]),
    "no inputs": (put("blocks", 1, "inputs", []), ["blocks.1.inputs", "at least 1"]),
    "missing anchors": (
        several(put("taps", [{"block": "left"}, {"block": "both"}])),
        ["head ssd", "anchors for 1", "reads 2", "one entry per map"],
    ),
    "no anchors": (put("head", "anchors", []), ["head.ssd.anchors", "at least 1"]),
    "unequal shortcut": (
        put("blocks", 1, "op", {"type": "inverted_residual", "width": 12, "shortcut": True}),
        ["block 'left'", "8×32px", "12×32px", "legal"],
    ),
    "unequal identity of a convolution": (
        several(
            put("blocks", 1, "op", "shortcut", "identity"),
            put("blocks", 1, "op", "width", 16),
        ),
        ["block 'left'", "legal: equal shapes"],
    ),
    "average pool of another size": (
        append(conv("down", ["both"], 1, shortcut="average_pool")),
        ["block 'down'", "31 px", "32 px", "legal: stride 2"],
    ),
    "truncation backwards": (
        put("truncation", {"after": "both", "through": "left"}),
        ["truncation", "'left'", "after 'both'"],
    ),
    "truncation at nothing": (
        put("truncation", {"after": "left", "through": "top"}),
        ["truncation", "'top'", "legal: stem"],
    ),
    "resampled image": (
        put("blocks", 0, "inputs", 0, "resample", ALPHA),
        ["block 'stem'", "image", "legal: a direct edge"],
    ),
    "resampled pool": (
        append(
            {
                "id": "pool",
                "level": 2,
                "op": {"type": "max_pool"},
                "inputs": [{"block": "both", "resample": ALPHA}],
            }
        ),
        ["block 'pool'", "max_pool", "direct"],
    ),
    "alpha below 128 px": (
        put("blocks", 3, "inputs", 0, "resample", ALPHA),
        ["64", "at least 128 px"],
    ),
    "nothing left of a map": (
        append(conv("end", ["both"], 1, kernel=31, padding=0, dilation=2)),
        ["block 'end'", "32 px", "legal: a larger input"],
    ),
    "padding past a pool's window": (
        append(
            {
                "id": "pool",
                "level": 2,
                "op": {"type": "max_pool", "padding": 2},
                "inputs": [{"block": "both"}],
            }
        ),
        ["block 'pool'", "legal: at most 1"],
    ),
    "repeated strided pool": (
        append(
            {
                "id": "pool",
                "level": 2,
                "op": {"type": "max_pool"},
                "repeats": 2,
                "inputs": [{"block": "both"}],
            }
        ),
        ["block 'pool'", "repeated", "legal"],
    ),
    "repeated unpadded convolution": (
        several(
            append(conv("end", ["both"], padding=0)), lambda d: d["blocks"][-1].update(repeats=2)
        ),
        ["block 'end'", "legal: repeats 1"],
    ),
    "a tap pooled to nothing": (
        several(
            put("input", "size", 32),
            append(conv("end", ["both"], 1, kernel=15, padding=0)),
            put("taps", [{"block": "end", "transform": {"type": "pool", "stride": 4}}]),
        ),
        ["tap 0", "'end'", "legal"],
    ),
    "rfcr without its tap": (
        put("neck", {"type": "rfcr", "target": 1, "outputs": [0]}),
        ["neck rfcr", "tap 1", "legal: 0 to 0"],
    ),
    "rfcr in training only": (
        several(
            put("neck", {"type": "rfcr", "target": 0, "outputs": [0]}),
            put("taps", 0, "training_only", True),
        ),
        ["neck rfcr", "legal: no training_only"],
    ),
    "training-only map for a plain head": (
        put("taps", 0, "training_only", True),
        ["head ssd", "legal: mimicdet"],
    ),
    "mimicdet past its maps": (
        put("head", {"type": "mimicdet", "anchors": [OCTAVE], "student_levels": [1]}),
        ["head mimicdet", "map 1", "legal: 0 to 0"],
    ),
    "shared towers over two widths": (
        several(
            put("taps", [{"block": "stem"}, {"block": "both"}]),
            put("blocks", 0, "op", "width", 16),
            put("head", {**RETINANET, "anchors": [OCTAVE, OCTAVE]}),
        ),
        ["head retinanet", "[8, 16]", "endpoints"],
    ),
    "shared towers over two counts of anchors": (
        several(
            put("taps", [{"block": "stem"}, {"block": "both"}]),
            put("head", {**RETINANET, "anchors": [OCTAVE, {**OCTAVE, "ratios": [1.0]}]}),
        ),
        ["head retinanet", "[3, 9]", "same number"],
    ),
    "width 0": (put("blocks", 1, "op", "width", 0), ["blocks.1.op.conv.width", "1", "'0'"]),
    "unknown type": (
        put("blocks", 1, "op", "type", "transformer"),
        ["blocks.1.op", "transformer", "inverted_residual"],
    ),
    "unknown field": (
        put("blocks", 1, "op", "kernal", 3),
        ["blocks.1.op.conv.kernal", "no such field", "'kernel'"],
    ),
    "a field of another type": (
        put("blocks", 1, "op", "expansion", 6),
        ["blocks.1.op.conv.expansion", "no such field"],
    ),
    "a field with a treacherous name": (
        put("\x1b[2J\r\n" + "x" * 5000, 1),
        ["no such field"],
    ),
    "unknown version": (put("version", 2), ["version", "1"]),
    "not a number": (put("input", "mean", [float("nan"), 0.5, 0.5]), ["input.mean.0", "finite"]),
    "infinite": (
        put("head", {**RETINANET, "focal_gamma": float("inf")}),
        ["head.retinanet.focal_gamma", "finite"],
    ),
    "negative deviation": (put("input", "std", [1, 1, -1]), ["input.std.2", "greater than 0"]),
    "stride 3": (put("blocks", 1, "op", "stride", 3), ["blocks.1.op.conv.stride", "1, 2 or 4"]),
    "an id with spaces": (put("blocks", 1, "id", "a b"), ["blocks.1.id", "pattern"]),
    "input of 0 px": (put("input", "size", 0), ["input.size", "32"]),
    "blocks as a number": (put("blocks", 3), ["blocks"]),
    "too many blocks": (
        put("blocks", [conv(f"b{i}", ["image"], 0) for i in range(201)]),
        ["blocks", "200"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_legal_is_refused(case: str) -> None:
    change, names = REFUSED[case]
    broken = small()
    change(broken)
    assert_refused(json.dumps(broken), names)


def assert_refused(text: str | bytes, names: list[str]) -> None:
    with pytest.raises(GenomeError) as caught:
        Genome.from_json(text, source="found.json")
    message = str(caught.value)
    assert message.startswith("found.json: ")
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert len(message) < 700
    for name in names:
        assert name in message, message


def test_the_small_genome_itself_is_legal() -> None:
    assert Genome.from_json(json.dumps(small())).taps[0].block == "both"


TEXTS: dict[str, str | bytes] = {
    "nothing": "",
    "not JSON": "blocks: [a, b]",
    "another document": "[1, 2, 3]",
    "null": "null",
    "cut short": json.dumps(small())[:-10],
    "deep lists": "[" * 200_000,
    "deep objects": '{"head":' * 100_000 + "1" + "}" * 100_000,
    "deep inside a field": json.dumps(small())[:-1] + ',"neck":' + "[" * 5000 + "]" * 5000 + "}",
    "two megabytes": json.dumps({**small(), "name": "x" * 2_000_000}),
    "two megabytes of spaces": " " * 2_000_000 + "{}",
    "a picture": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)),
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94",
    "utf-16": json.dumps(small()).encode("utf-16"),
    "half a surrogate": '{"name": "\\ud800", "blocks": []}',
    "huge integer": '{"blocks": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_is_not_a_genome_s_json_is_refused(case: str, tmp_path: Path) -> None:
    text = TEXTS[case]
    assert_refused(text, [])
    file = tmp_path / "found.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(GenomeError, match=r"found\.json") as caught:
        Genome.from_file(file)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(GenomeError, match=path.name):
            Genome.from_file(path)


@pytest.mark.parametrize("name", [n for n in zoo.names() if n.startswith(("spinenet", "r0"))])
def test_spinenets_need_128_px(name: str) -> None:
    genome = zoo.genome(name)
    genome.scaled(input_size=128).validate()
    with pytest.raises(GenomeError, match="at least 128 px"):
        genome.scaled(input_size=127).validate()


def test_scaling_past_the_limits_is_refused() -> None:
    genome = zoo.genome("spinenet-49")
    for change in ({"width": -1.0}, {"alpha": 0.0}, {"head_width": 0}, {"input_size": 10**6}):
        with pytest.raises(GenomeError, match=r"width|alpha|size"):
            genome.scaled(**change)


def test_truncation_may_not_cut_a_point_inside_a_block() -> None:
    cut = document("ssdlite320-mobilenetv3-large")
    cut["truncation"] = {"after": "12", "through": "13"}
    with pytest.raises(GenomeError, match="inside '13'"):
        Genome.model_validate(cut).validate()


def test_blocks_that_no_tap_reaches_are_checked_for_their_references_only() -> None:
    spare = small()
    spare["blocks"].append(conv("spare", ["left", "both"]))
    genome = Genome.from_json(json.dumps(spare))
    assert "spare" not in resolve(genome)[0]
    assert genome.key == Genome.from_json(json.dumps(small())).key


# --- sizes ------------------------------------------------------------------------------------


def one_block(op: Document, size: int) -> Genome:
    """The picture through one operation."""
    levels = {1: 0, 2: 1, 4: 2}
    block = {"id": "a", "level": levels[op["stride"]], "op": op, "inputs": [{"block": "image"}]}
    whole = {**small(), "input": {"size": size}, "blocks": [block], "taps": [{"block": "a"}]}
    return Genome.model_validate(copy.deepcopy(whole))


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_sizes_are_those_that_torch_computes(kernel: int, stride: int, padding: int) -> None:
    for size in range(32, 41):
        picture = torch.zeros(1, 3, size, size, device="meta")
        for dilation in (1, 2):
            op = {"type": "conv", "width": 3, "kernel": kernel, "stride": stride}
            genome = one_block({**op, "padding": padding, "dilation": dilation}, size)
            layer = nn.Conv2d(3, 3, kernel, stride, padding, dilation, device="meta")
            assert plan(genome)[0].outs[0].size == layer(picture).shape[-1]
        if padding > kernel // 2:
            continue
        for ceil in (False, True):
            op = {"type": "max_pool", "kernel": kernel, "stride": stride, "ceil": ceil}
            genome = one_block({**op, "padding": padding}, size)
            pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
            assert plan(genome)[0].outs[0].size == pool(picture).shape[-1]
