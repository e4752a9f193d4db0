"""Weights that others have trained, laid onto a genome's units: one adapter a source."""

from __future__ import annotations

from pathlib import Path

from nas.errors import RunError
from nas.models import Detector
from nas.models.pretrained.assignment import Assignment, LoadedWeights
from nas.models.pretrained.base import WeightSource
from nas.models.pretrained.state_dicts import read_state_dict
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


def start_from(model: Detector, path: Path) -> LoadedWeights:
    """Fills a new detector from a file; what isn't in the file keeps its first draw.

    The adapters of `SOURCES` are asked in the table's order; the first that recognises the file
    lays its layers onto the model.

    Args:
        model: as `build` made it.
        path: a `.safetensors`, `.pth` or `.pt` file.

    Raises:
        RunError: the file can't be read, isn't known, or doesn't fit; the model is as it was.
    """
    if path.is_dir():
        raise RunError(f"{path}: is a folder; name a file in it, such as model.safetensors")
    file = read_state_dict(path)
    sources: list[WeightSource] = [SOURCES.load(name)() for name in SOURCES.complete()]
    for source in sources:
        if source.recognises(file):
            assignment = Assignment(model, path)
            note = source.assign(file, assignment)
            return assignment.load(source.describe(file), note)
    first = ascii(min(file.tensors).rpartition(".")[0])[1:-1]
    legal = "; ".join(source.accepts for source in sources)
    raise RunError(f"{path}: unknown layout (it has {first!r}); legal: {legal}")
