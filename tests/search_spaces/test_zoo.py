"""The zoo's mobile detectors against published counts, each by a count apart from `nas.cost`."""

from __future__ import annotations

import pytest

from nas.cost import profile
from nas.genome.parts import SSDHead
from nas.genome.plan import lower
from search_spaces import zoo
from tests.genome.counting import Layer, layers, published

# tensorflow/models' counts include batch norm's moving statistics; then the trainable ones, GMACs,
# and the channels of the first two maps.
MOBILEDETS = {
    "mobiledet-cpu": (4_205_423, 4_165_055, 0.444, (72, 144)),
    "mobiledet-edgetpu": (4_196_095, 4_146_543, 1.533, (96, 384)),
    "mobiledet-dsp": (7_159_343, 7_102_079, 2.816, (144, 240)),
    "mobiledet-gpu": (13_109_151, 13_069_247, 5.073, (128, 384)),
}


def counted(name: str, *kinds: str, num_classes: int = 91) -> list[Layer]:
    units = [unit for unit in lower(zoo.genome(name)) if not kinds or unit.kind in kinds]
    return [layer for unit in units for layer in layers(unit, num_classes)]


def params(counts: list[Layer], per_norm: int = 2) -> int:
    return sum(layer.params(per_norm) for layer in counts)


@pytest.mark.parametrize("name", MOBILEDETS)
def test_mobiledets_count_as_published(name: str) -> None:
    with_statistics, trainable, gmacs, channels = MOBILEDETS[name]
    counts = counted(name)
    assert params(counts, per_norm=4) == with_statistics
    assert params(counts) == trainable
    assert round(sum(layer.macs for layer in counts) / 1e9, 3) == gmacs
    head = lower(zoo.genome(name))[-1]
    assert [shape[:2] for shape in head.ins] == [
        *((channels[0], 20), (channels[1], 10), (512, 5)),
        *((256, 3), (256, 2), (128, 1)),
    ]
    assert isinstance(head.part, SSDHead)
    pairs = zip(head.part.anchors, head.ins, strict=True)
    assert sum(anchors.count * shape.size**2 for anchors, shape in pairs) == 2034


@pytest.mark.parametrize(
    ("name", "classes", "trainable"),
    [
        # torchvision's ssdlite320_mobilenet_v3_large, reduced and full tail.
        ("ssdlite320-mobilenetv3-large", 91, 3_440_060),
        ("ssdlite320-mobilenetv3-large", 81, 3_301_460),
        ("ssdlite320-mobilenetv3-large", 21, 2_469_860),
        ("ssdlite320-mobilenetv3-large", 2, 2_206_520),
        ("ssdlite320-mobilenetv3-large-full", 91, 5_198_540),
    ],
)
def test_ssdlite_counts_as_torchvision_does(name: str, classes: int, trainable: int) -> None:
    assert params(counted(name, num_classes=classes)) == trainable


def test_ssdlite_s_multiply_adds() -> None:
    counts = counted("ssdlite320-mobilenetv3-large")
    assert sum(layer.macs for layer in counts) == 583_171_904


@pytest.mark.parametrize(
    ("name", "backbone", "neck"),
    [
        # Keras's totals without a top, less the truncated blocks; RFCR by hand.
        ("yoloret-mobilenetv2-0.75", 1_382_064 - 584_720, 17_620),
        ("yoloret-mobilenetv2-1.4", 4_363_712 - 1_737_792, 27_220),
    ],
)
def test_yoloret_s_backbone_and_neck(name: str, backbone: int, neck: int) -> None:
    assert params(counted(name, "block"), per_norm=4) == backbone
    assert params(counted(name, "neck")) == neck


@pytest.mark.parametrize(
    "name", [name for name in zoo.names() if zoo.genome(name).head.type == "ssd"]
)
def test_nas_cost_agrees(name: str) -> None:
    counts, found = counted(name), profile(zoo.genome(name))
    assert (found.params, found.macs) == (params(counts), sum(layer.macs for layer in counts))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("ssdlite320-mobilenetv3-large", "ssdlite320-mobilenetv3-large"),
        ("mobilenetv2-0.75-rfcr", "yoloret-mobilenetv2-0.75"),
        ("mobilenetv2-1.4-rfcr", "yoloret-mobilenetv2-1.4"),
    ],
)
def test_hand_written_genomes_are_the_zoo_s(written: str, name: str) -> None:
    assert published(written).key == zoo.genome(name).key


def test_every_entry_names_its_source() -> None:
    for name in zoo.names():
        entry = zoo.entry(name)
        assert entry.name == name == entry.make().name
        assert entry.source
