"""Weights that others have trained: found, and laid onto a genome's units by one adapter a source.

What finds and checks a file knows no torch (`initial`, `published`, `packages`, `hub`); what reads
it does (`loading`, the adapters).
"""

from __future__ import annotations

from nas.tables import OpenTable

SOURCES = OpenTable(
    "pretrained",
    {
        "ours": "nas.models.pretrained.ours:Ours",
        "torchvision_ssdlite": "nas.models.pretrained.torchvision_ssdlite:SSDlite",
        "torchvision_mobilenet_v3": "nas.models.pretrained.torchvision_mobilenet:MobileNetV3",
        "torchvision_mobilenet_v2": "nas.models.pretrained.torchvision_mobilenet:MobileNetV2",
        "efficientnet_lite": "nas.models.pretrained.efficientnet_lite:EfficientNetLite",
    },
)
"""Name of a source to the place of its adapter, a `WeightSource`; another package may add."""
