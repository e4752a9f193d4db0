"""The zoo's mobile detectors: SSDlite on MobileNetV3, MobileDets, YOLO-ReT's backbones with RFCR.

Sources of the rows: torchvision, models/mobilenetv3.py and models/detection/ssdlite.py;
tensorflow/models, research/object_detection/models/ssd_mobiledet_feature_extractor.py;
prakharg24/yoloret, code/yolo3/model.py, for taps and truncation of Keras's MobileNetV2.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from nas.genome import Genome
from nas.genome.part import Stride
from nas.genome.parts import RFCR, DefaultBoxes, Postprocess, SqueezeExcite
from search_spaces.mobile.listing import (
    EXTRAS,
    BlockStyle,
    ChainBlock,
    LayerSpec,
    MobileDeploySettings,
    Tapped,
    default_boxes,
    genome_from_listing,
    ssdlite_head,
    stage,
)
from search_spaces.zoo_entry import Entry

TENSORFLOW = "tensorflow/models, research/object_detection"


def ibn(expansion: float, kernel: int = 3) -> LayerSpec:
    """Returns an inverted bottleneck; expansion 1 has no 1×1 before its depthwise convolution."""
    return LayerSpec("inverted_residual", kernel, expansion)


def fused(expansion: float, kernel: int = 3) -> LayerSpec:
    """Returns a fused inverted bottleneck, which a full convolution widens."""
    return LayerSpec("fused_inverted_residual", kernel, expansion)


def tucker(into: float, out: float) -> LayerSpec:
    """Returns MobileDets' generalised bottleneck, 3×3."""
    return LayerSpec("tucker", 3, ratios=(into, out))


def stem(width: int, style: BlockStyle) -> ChainBlock:
    """Returns the first convolution, 3×3 of stride 2."""
    return ChainBlock(LayerSpec("conv"), width, stride=2, style=style)


# --- SSDlite320 on MobileNetV3-Large -------------------------------------------------------------

_PLAIN, _HARD = BlockStyle("relu"), BlockStyle("hard_swish")
_PLAIN_SE, _HARD_SE = (style._replace(squeeze_excite=SqueezeExcite()) for style in (_PLAIN, _HARD))


def mobilenetv3_large_rows(tail: int) -> tuple[ChainBlock, ...]:
    """Returns MobileNetV3-Large up to its last 1×1; `tail` is 160, or 80 for the reduced one."""
    return (
        stem(16, _HARD),
        ChainBlock(ibn(1), 16, shortcut=True, style=_PLAIN),
        ChainBlock(ibn(4), 24, 2, style=_PLAIN),
        ChainBlock(ibn(3), 24, shortcut=True, style=_PLAIN),
        *stage((ibn(3, 5),) * 3, 40, 2, _PLAIN_SE),
        *stage((ibn(6), ibn(2.5), ibn(2.3), ibn(2.3)), 80, 2, _HARD),
        *stage((ibn(6), ibn(6)), 112, 1, _HARD_SE),
        *stage((ibn(6, 5),) * 3, tail, 2, _HARD_SE),
        ChainBlock(LayerSpec("conv", 1), 6 * tail, style=_HARD),
    )


def _ssdlite(name: str, tail: int) -> Genome:
    """Makes SSDlite on the expansion of the last strided block, and on the last 1×1."""
    taps = (Tapped(13, "expand"), Tapped(16))
    head = ssdlite_head(default_boxes(6))
    return genome_from_listing(mobilenetv3_large_rows(tail), taps, head, extras=EXTRAS, name=name)


# --- MobileDets ----------------------------------------------------------------------------------

_RELU6 = BlockStyle("relu6")
_SWISH_SE = BlockStyle("hard_swish", SqueezeExcite(activation="hard_swish", gate="sigmoid"))

Stage = tuple[int, Stride, tuple[LayerSpec, ...]]  # width, stride, blocks

MOBILEDETS: dict[str, tuple[int, BlockStyle, tuple[Stage, ...]]] = {
    "cpu": (
        16,
        _SWISH_SE,
        (
            (8, 1, (ibn(1),)),
            (16, 2, (ibn(4),)),
            (32, 2, (ibn(8), ibn(4), ibn(4), ibn(4))),
            (72, 2, (ibn(8, 5), ibn(8), ibn(4, 5), ibn(4))),
            (72, 1, (ibn(8), ibn(8), ibn(8), ibn(8))),
            (104, 2, (ibn(8, 5), ibn(4, 5), ibn(4, 5), ibn(4))),
            (144, 1, (ibn(8),)),
        ),
    ),
    "edgetpu": (
        32,
        _RELU6,
        (
            (16, 1, (tucker(0.25, 0.75),)),
            (16, 2, (fused(8), fused(4), fused(8), fused(4))),
            (40, 2, (fused(8, 5), fused(4), fused(4), fused(4))),
            (72, 2, (ibn(8), ibn(8), fused(4), fused(4))),
            (96, 1, (ibn(8, 5), ibn(8, 5), ibn(8), ibn(8))),
            (120, 2, (ibn(8, 5), ibn(8), ibn(4, 5), ibn(8))),
            (384, 1, (ibn(8, 5),)),
        ),
    ),
    "dsp": (
        32,
        _RELU6,
        (
            (24, 1, (ibn(1),)),
            (32, 2, (fused(4), fused(4), ibn(4), tucker(0.25, 0.75))),
            (64, 2, (fused(8), ibn(4), fused(4), fused(4))),
            (120, 2, (fused(8), ibn(4), ibn(8), ibn(8))),
            (144, 1, (fused(8), ibn(8), ibn(8), ibn(8))),
            (160, 2, (ibn(4), ibn(4), fused(4), tucker(0.75, 0.75))),
            (240, 1, (ibn(8),)),
        ),
    ),
    "gpu": (
        32,
        _RELU6,
        (
            (16, 1, (tucker(0.25, 0.25),)),
            (32, 2, (fused(8), *(tucker(0.25, 0.25),) * 3)),
            (64, 2, (fused(8), fused(8), fused(8), fused(4))),
            (128, 2, (fused(8), fused(4), fused(4), fused(4))),
            (128, 1, (fused(8),) * 4),
            (128, 2, (fused(4),) * 4),
            (384, 1, (ibn(8),)),
        ),
    ),
}
"""By device: the stem's width, the blocks' style, and the stages."""


def mobiledet_rows(device: str) -> tuple[ChainBlock, ...]:
    """Returns the backbone that was found for a device: cpu, edgetpu, dsp or gpu."""
    first, style, stages = MOBILEDETS[device]
    blocks = (
        row for width, stride, layers in stages for row in stage(layers, width, stride, style)
    )
    return (stem(first, style), *blocks)


def _mobiledet(name: str, device: str) -> Genome:
    """Makes SSDlite on the fifth stage's output and the last block's, with TensorFlow's boxes."""
    rows = mobiledet_rows(device)
    before_last_stride = max(i for i, row in enumerate(rows) if row.stride == 2) - 1
    head = ssdlite_head(
        default_boxes(6, three_on_first=True, clip=False),
        Postprocess(score=0.001, candidates=300, iou=0.6, detections=100),
    )
    return genome_from_listing(
        rows,
        (Tapped(before_last_stride), Tapped(len(rows) - 1)),
        head,
        extras=EXTRAS,
        deploy=MobileDeploySettings(eps=0.01, momentum=0.01),
        name=name,
    )


# --- YOLO-ReT's backbones with RFCR --------------------------------------------------------------

MOBILENETV2: tuple[tuple[int, int, int, Stride], ...] = (  # expansion, width, blocks, stride
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def mobilenetv2_rows(width: float) -> tuple[ChainBlock, ...]:
    """Returns Keras's MobileNetV2: stem, 17 blocks, and a last 1×1 that never becomes narrower."""
    blocks = [
        stage((ibn(expansion),) * count, channels, stride, _RELU6)
        for expansion, channels, count, stride in MOBILENETV2
    ]
    last = ChainBlock(
        LayerSpec("conv", 1), int(1280 * max(width, 1.0)), style=_RELU6, scalable=False
    )
    return (stem(32, _RELU6), *itertools.chain(*blocks), last)


def _boxes(scales: Sequence[tuple[float, float]]) -> tuple[DefaultBoxes, ...]:
    return tuple(
        DefaultBoxes(scale=scale, next_scale=following, ratios=(2.0,))
        for scale, following in scales
    )


def _yoloret(name: str, width: float) -> Genome:
    """Makes SSDlite on RFCR, which reads strides 32, 16 and 8, and stride 4 pooled by 4.

    The last two rows are truncated.
    """
    return genome_from_listing(
        mobilenetv2_rows(width),
        (Tapped(16), Tapped(13), Tapped(6), Tapped(3, pool=4)),
        ssdlite_head(_boxes(((0.5, 0.9), (0.2, 0.5), (0.05, 0.2)))),
        neck=RFCR(target=1, outputs=(0, 1, 2)),
        deploy=MobileDeploySettings(
            width=width, resize="letterbox", mean=0.0, std=1.0, eps=1e-3, momentum=0.01
        ),
        truncation=(16, 18),
        name=name,
    )


# --- entries -------------------------------------------------------------------------------------

_MOBILEDET_NOTE = (
    "the published parameters count batch norm's moving statistics, ours are the trainable ones; "
    "one batch norm everywhere, that of the published backbone (its extra blocks and head have "
    "epsilon 0.001), and SSDlite's losses and score threshold instead of a focal loss"
)
_YOLORET_NOTE = (
    "nothing published to compare with, since the authors' head is YOLO's and this one SSDlite's, "
    "on the same three maps; at 91 classes it has"
)


def _mobiledet_entry(device: str, params: float, macs: float) -> Entry:
    name = f"mobiledet-{device}"
    return Entry(
        name,
        lambda: _mobiledet(name, device),
        params,
        macs,
        "MobileDets, arXiv 2004.14525; "
        f"{TENSORFLOW}/samples/configs/ssdlite_mobiledet_{device}_320x320_coco_sync_4x4.config",
        _MOBILEDET_NOTE,
    )


def _yoloret_entry(width: float, ours: str) -> Entry:
    name = f"yoloret-mobilenetv2-{width:g}"
    return Entry(
        name,
        lambda: _yoloret(name, width),
        None,
        None,
        "YOLO-ReT, arXiv 2110.13713; prakharg24/yoloret",
        f"{_YOLORET_NOTE} {ours}",
    )


def mobile_entries() -> tuple[Entry, ...]:
    """Returns the entries, by family."""
    small, full = "ssdlite320-mobilenetv3-large", "ssdlite320-mobilenetv3-large-full"
    return (
        Entry(
            small,
            lambda: _ssdlite(small, tail=80),
            3_440_060,
            0.583e9,
            "torchvision, models/detection/ssdlite.py, SSDLite320_MobileNet_V3_Large_Weights",
        ),
        Entry(
            full,
            lambda: _ssdlite(full, tail=160),
            None,
            None,
            "torchvision, models/detection/ssdlite.py",
            "what torchvision builds on a backbone with ImageNet's weights: 5,198,540 parameters "
            "by its class, no published numbers",
        ),
        _mobiledet_entry("cpu", 4.21e6, 0.45e9),
        _mobiledet_entry("edgetpu", 4.20e6, 1.53e9),
        _mobiledet_entry("dsp", 7.16e6, 2.82e9),
        _mobiledet_entry("gpu", 13.11e6, 5.07e9),
        _yoloret_entry(0.75, "1.00 M parameters, 17,620 of them RFCR's, and 0.485 G"),
        _yoloret_entry(1.4, "2.90 M parameters, 27,220 of them RFCR's, and 1.164 G"),
    )
