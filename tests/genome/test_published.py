"""Hand-written JSONs of six published systems: they validate and infer the published shapes."""

from __future__ import annotations

import pytest

from nas.errors import GenomeError
from nas.genome import Genome, plan
from nas.genome.parts import Conv, DefaultBoxes, RetinaNetHead, SSDHead
from nas.genome.plan import lower
from search_spaces import zoo
from tests.genome.counting import PUBLISHED, Layer, by_name, document, layers, published

Map = tuple[int, int]  # channels, pixels

# Maps that the head reads, in order.
MAPS: dict[str, list[Map]] = {
    # tensorflow/tpu, spinenet.py: endpoints of 256 channels on strides 8 to 128.
    "spinenet-49": [(256, 80), (256, 40), (256, 20), (256, 10), (256, 5)],
    # torchvision, models/detection/ssdlite.py.
    "ssdlite320-mobilenetv3-large": [
        *((672, 20), (480, 10), (512, 5)),
        *((256, 3), (256, 2), (128, 1)),
    ],
    # torchvision, models/detection/ssd.py; weiliu89/caffe, ssd.
    "ssd300-vgg16": [(512, 38), (1024, 19), (512, 10), (256, 5), (256, 3), (256, 1)],
    # ZiweiWangTHU/BiDet, ssd/bidet_ssd.py.
    "bidet-ssd300": [(512, 38), (1024, 19), (512, 10), (256, 5), (256, 3), (256, 1)],
    # prakharg24/yoloret, code/yolo3/model.py: each tap and 96 more channels.
    "mobilenetv2-0.75-rfcr": [(120 + 96, 10), (72 + 96, 20), (24 + 96, 40)],
    "mobilenetv2-1.4-rfcr": [(224 + 96, 10), (136 + 96, 20), (48 + 96, 40)],
    # MimicDet, ECCV 2020: P2 for the teacher, P3 to P7 for both.
    "mimicdet-spinenet-49": [(256, 160), (256, 80), (256, 40), (256, 20), (256, 10), (256, 5)],
}

# Outputs of blocks inside, same sources.
INSIDE: dict[str, dict[str, Map]] = {
    "spinenet-49": {
        **{"stem": (64, 320), "pool": (64, 160), "0": (256, 160), "1": (256, 160)},
        **{"2": (256, 160), "3": (256, 40), "4": (512, 80), "5": (1024, 40), "6": (256, 10)},
        **{"7": (1024, 40), "8": (256, 20), "9": (256, 5), "10": (1024, 20), "11": (1024, 20)},
        **{"12": (1024, 40), "13": (512, 80), "14": (1024, 20), "15": (1024, 5)},
        **{"16": (1024, 10)},
    },
    "ssdlite320-mobilenetv3-large": {
        **{"0": (16, 160), "1": (16, 160), "2": (24, 80), "3": (24, 80), "4": (40, 40)},
        **{"6": (40, 40), "7": (80, 20), "10": (80, 20), "11": (112, 20), "12": (112, 20)},
        **{"13": (80, 10), "15": (80, 10), "16": (480, 10)},
    },
    "ssd300-vgg16": {
        **{"conv1_2": (64, 300), "pool1": (64, 150), "pool2": (128, 75), "conv3_3": (256, 75)},
        **{"pool3": (256, 38), "pool4": (512, 19), "pool5": (512, 19), "fc6": (1024, 19)},
        **{"conv8_1": (256, 19), "conv10_1": (128, 5)},
    },
    "bidet-ssd300": {
        **{"conv1_1": (64, 300), "down1": (128, 150), "down2": (256, 75), "down3": (512, 38)},
        **{"down4": (512, 19), "pool5": (512, 19), "conv6": (1024, 19), "extra0": (256, 19)},
    },
    "mobilenetv2-0.75-rfcr": {
        **{"stem": (24, 160), "block_0": (16, 160), "block_2": (24, 80), "block_5": (24, 40)},
        **{"block_9": (48, 20), "block_12": (72, 20), "block_15": (120, 10)},
    },
    "mobilenetv2-1.4-rfcr": {
        **{"stem": (48, 160), "block_0": (24, 160), "block_2": (32, 80), "block_5": (48, 40)},
        **{"block_9": (88, 20), "block_12": (136, 20), "block_15": (224, 10)},
    },
    "mimicdet-spinenet-49": {"17": (256, 160), "13": (512, 80)},
}

CONSTANTS = {  # input size, resize rule, mean of red, std of red, BN eps, BN momentum
    "spinenet-49": (640, "letterbox", 0.485, 0.229, 1e-3, 0.01),
    "ssdlite320-mobilenetv3-large": (320, "stretch", 0.5, 0.5, 1e-3, 0.03),
    # Caffe's means 104, 117, 123 of BGR in 0…255, no division.
    "ssd300-vgg16": (300, "stretch", 123 / 255, 1 / 255, None, None),
    "bidet-ssd300": (300, "stretch", 123 / 255, 1 / 255, 1e-5, 0.1),
    "mobilenetv2-0.75-rfcr": (320, "letterbox", 0.0, 1.0, 1e-3, 0.01),
    "mobilenetv2-1.4-rfcr": (320, "letterbox", 0.0, 1.0, 1e-3, 0.01),
}

NAMES = sorted(MAPS)


def test_every_json_has_a_row() -> None:
    assert sorted(path.stem for path in PUBLISHED.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_maps_and_blocks_have_the_published_shapes(name: str) -> None:
    units = by_name(published(name))
    assert [(s.channels, s.size) for s in units["head"].ins] == MAPS[name]
    inside = {block: (units[block].outs[0].channels, units[block].outs[0].size) for block in units}
    assert {block: inside[block] for block in INSIDE[name]} == INSIDE[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_json_survives_the_round_trip(name: str) -> None:
    genome = published(name)
    again = Genome.from_json(genome.to_json(indent=2))
    assert again == genome
    assert again.key == genome.key
    assert again.to_json() == genome.to_json()


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_input_and_norm_constants(name: str) -> None:
    size, resize, mean, std, eps, momentum = CONSTANTS[name]
    genome = published(name)
    assert (genome.input.size, genome.input.resize) == (size, resize)
    assert (genome.input.mean[0], genome.input.std[0]) == (mean, std)
    if eps is not None:
        assert (genome.norm.eps, genome.norm.momentum) == (eps, momentum)


def counted(name: str, *prefixes: str, num_classes: int = 21) -> list[Layer]:
    """Layers of the units whose name starts with one of the prefixes."""
    units = by_name(published(name))
    chosen = [unit for block, unit in units.items() if block.startswith(prefixes)]
    return [layer for unit in chosen for layer in layers(unit, num_classes)]


def params(counts: list[Layer], per_norm: int = 2) -> int:
    return sum(layer.params(per_norm) for layer in counts)


def test_the_hand_written_spinenet_is_the_zoo_s() -> None:
    assert published("spinenet-49").key == zoo.genome("spinenet-49").key


def test_spinenet_49_merges_once() -> None:
    direct = [
        (edge.block, block.id)
        for block in published("spinenet-49").blocks
        for edge in block.inputs
        if block.rank and edge.resample.type == "direct"
    ]
    assert direct == [("11", "14")]


def test_ssdlite_counts_as_torchvision_does() -> None:
    """torchvision 0.28: parameters and multiply-adds of ssdlite320_mobilenet_v3_large, 91."""
    name = "ssdlite320-mobilenetv3-large"
    extras, head = counted(name, "extra"), counted(name, "head", num_classes=91)
    features = counted(name, *"0123456789")
    assert (params(features), params(extras), params(head)) == (1_620_512, 452_160, 1_367_388)
    assert params(features + extras + head) == 3_440_060
    macs = [sum(layer.macs for layer in part) for part in (features, extras, head)]
    assert macs == [340_151_808 + 29_112_192, 18_070_976, 184_846_080 + 10_990_848]


def test_ssdlite_maps_one_block_s_expansion_and_boxes_of_six() -> None:
    genome = published("ssdlite320-mobilenetv3-large")
    assert (genome.taps[0].block, genome.taps[0].point) == ("13", "expand")
    unit = by_name(genome)["head"]
    assert isinstance(unit.part, SSDHead)
    boxes = [
        a.count * s.size**2 for a, s in zip(unit.part.anchors, unit.ins, strict=True)
    ]  # 2400 + 600 + 150 + 54 + 24 + 6, as torchvision's
    assert sum(boxes) == 3234


def test_ssd300_counts_as_published() -> None:
    """26,285,486 parameters and 31,373,537,792 multiply-adds with 21 classes (100.27 MiB)."""
    counts = counted("ssd300-vgg16", "conv", "fc", "tap", "head")
    assert params(counts) == 26_285_486
    assert sum(layer.macs for layer in counts) == 31_373_537_792


@pytest.mark.parametrize("name", ["ssd300-vgg16", "bidet-ssd300"])
def test_ssd300_has_8732_boxes(name: str) -> None:
    unit = by_name(published(name))["head"]
    assert isinstance(unit.part, SSDHead)
    pairs = zip(unit.part.anchors, unit.ins, strict=True)
    assert sum(anchors.count * shape.size**2 for anchors, shape in pairs) == 8732
    first, last = unit.part.anchors[0], unit.part.anchors[-1]
    assert isinstance(first, DefaultBoxes) and isinstance(last, DefaultBoxes)
    assert (first.step, last.step, last.next_scale) == (8, 300, 315 / 300)


def test_bidet_counts_as_its_authors_code() -> None:
    """32,725,030 parameters and 43,119,249,920 multiply-adds with 21 classes."""
    name = "bidet-ssd300"
    backbone, extras = counted(name, "conv", "down"), counted(name, "extra")
    assert params(backbone) == 26_386_880
    assert params(extras) == 2_457_600 + 3_840
    everything = backbone + extras + counted(name, "tap", "head")
    assert params(everything) == 32_725_030
    assert sum(layer.macs for layer in everything) == 43_119_249_920


def test_bidet_has_25_binary_convolutions_and_four_projections() -> None:
    blocks = published("bidet-ssd300").blocks
    operations = [block.op for block in blocks if isinstance(block.op, Conv)]
    assert sum(op.precision == "binary" for op in operations) == 25
    assert sum(op.shortcut == "average_pool" for op in operations) == 4


@pytest.mark.parametrize(
    ("name", "backbone", "neck"),
    [
        # Keras: no-top total less the truncated part; RFCR at 320 px.
        ("mobilenetv2-0.75-rfcr", 1_382_064 - 584_720, 17_620),
        ("mobilenetv2-1.4-rfcr", 4_363_712 - 1_737_792, 27_220),
    ],
)
def test_truncated_mobilenets_count_as_keras_does(name: str, backbone: int, neck: int) -> None:
    units = by_name(published(name))
    assert "block_15" in units
    assert not {"block_16", "last"} & set(units)
    assert params(counted(name, "stem", "block"), per_norm=4) == backbone
    assert params(counted(name, "neck")) == neck


def test_rfcr_pools_the_stride_4_map_to_the_target_s_size() -> None:
    units = by_name(published("mobilenetv2-1.4-rfcr"))
    assert [tuple(shape[:2]) for shape in units["neck"].ins] == [
        *((224, 10), (136, 20), (48, 40)),
        (32, 20),
    ]
    macs = sum(layer.macs for layer in layers(units["neck"]))
    assert macs == 10_310_400  # hand count at 320 px


def test_only_the_teacher_reads_p2() -> None:
    genome = published("mimicdet-spinenet-49")
    units = plan(genome)
    training = {unit.block.id if unit.block else unit.name for unit in units if unit.training_only}
    assert training == {"17", "endpoint0"}  # the block, its two edges, its endpoint
    head = units[-1]
    cells = [shape.size**2 for shape in head.ins]
    assert (sum(cells), sum(cells[1:])) == (34_125, 8_525)
    # Without P2 and the teacher the shipped network is left.
    shipped = [unit for unit in units if not unit.training_only]
    plain = [unit for unit in lower(published("spinenet-49")) if unit.kind != "head"]
    assert len(shipped) - 1 == len(plain)


def test_the_student_may_not_read_p2() -> None:
    text = document("mimicdet-spinenet-49")
    assert isinstance(text["head"], dict)
    text["head"]["student_levels"] = [0, 1, 2, 3, 4]
    with pytest.raises(GenomeError, match="training-only"):
        Genome.model_validate(text).validate()


def test_anchors_of_spinenet() -> None:
    head = published("spinenet-49").head
    assert isinstance(head, RetinaNetHead)
    places = [80, 40, 20, 10, 5]
    pairs = zip(head.anchors, places, strict=True)
    assert sum(part.count * side**2 for part, side in pairs) == 76_725
