"""Whether an exported file says what the PyTorch model says, on real pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torchvision.ops import box_iou, clip_boxes_to_image

from nas.data.resize import read_rgb, resize
from nas.data.scenes import write_scenes
from nas.errors import DataError, NasError
from nas.formats.onnx.postprocess import SCORE_THRESHOLD
from nas.formats.onnx.runtime import as_input, start_session
from nas.genome import Genome
from nas.models import Detector
from nas.models.heads.base import RawOutputs
from nas.temporary import temporary_folder

RAW_TOLERANCE = 1e-4
"""Of logits and deltas, relative to the tensor's largest magnitude."""
SCORE_TOLERANCE = 1e-4
IOU_TOLERANCE = 1e-3
TWIN_IOU = 0.99
PICTURES = 8
LOOSE_CANDIDATES = 300

Found = dict[str, NDArray[Any]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with its model.

    Attributes:
        pictures: compared; detections: after NMS, all of which have their twin.
        ties: detections, beyond those, on which NMS may decide either way within rounding.
        logits, deltas: largest difference, relative to the tensor's largest magnitude.
        threshold: score above which detections were compared: the model's own, or a lower one
            where that left none.
    """

    pictures: int
    detections: int
    ties: int
    logits: float
    deltas: float
    threshold: float


def pictures(images: Sequence[Path], genome: Genome) -> list[NDArray[np.uint8]]:
    """Returns pictures to compare on, at a genome's input size: uint8 ``(S, S, 3)``.

    Args:
        images: the first of them that can be decoded are taken; a warning counts those passed
            over. Without any, built-in scenes.
        genome: whose input.

    Raises:
        DataError: none can be decoded.
    """
    size, rule = genome.input.size, genome.input.resize
    if images:
        return [resize(picture, size, rule)[0] for picture in _decodable(images)]
    with temporary_folder("scenes-") as folder:
        root = write_scenes(folder / "scenes", images=5, difficulty="hard")
        paths = sorted(root.glob("*/*.jpg"))
        return [resize(read_rgb(path), size, rule)[0] for path in paths]


def _decodable(images: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """The first of the images that can be decoded."""
    decoded: list[NDArray[np.uint8]] = []
    passed_over = 0
    for path in images:
        try:
            decoded.append(read_rgb(path))
        except DataError:
            passed_over += 1
        if len(decoded) == PICTURES:
            break
    if not decoded:
        raise DataError(
            f"{images[0].parent}: none of {len(images)} pictures to compare on can be decoded; "
            "name another folder with --data"
        )
    if passed_over:
        log.warning(
            "%s: %d pictures can't be decoded and aren't compared on",
            images[0].parent,
            passed_over,
        )
    return decoded


def verify(
    path: Path,
    model: Detector,
    ids: Sequence[int],
    images: Sequence[NDArray[np.uint8]],
    name: str = "",
) -> Agreement:
    """Runs a file with onnxruntime and holds it against its model.

    Args:
        model: on the CPU, in evaluation mode.
        ids: the user's category id of each label, from label 1.
        images: uint8 ``(S, S, 3)`` at the model's input size.
        name: what errors call the file.

    Raises:
        NasError: raw outputs differ by more than 1e-4 of their largest magnitude, or a detection
            has no twin (same label, IoU above 0.99, score within 1e-4).
    """
    judge = _Judge(model, ids, name or str(path))
    session = start_session(path)
    for picture in images:
        judge.raw(session, picture)
    judge.detections(judge.post.score)
    if judge.compared == 0:
        # Nothing passes the model's own threshold: look at the best boxes all the same.
        threshold = judge.loose_threshold()
        loose = _with_threshold(path, threshold)
        judge.found = [_run(loose, picture) for picture in images]
        judge.detections(threshold)
    return judge.agreement()


class _Judge:
    """Compares picture by picture and remembers the worst."""

    def __init__(self, model: Detector, ids: Sequence[int], name: str) -> None:
        self.model, self.head, self.name = model, model.head, name
        self.post = self.head.settings.postprocess
        self.ids = np.array([0, *ids], dtype=np.int64)
        self.seen: list[RawOutputs] = []
        self.found: list[Found] = []
        self.errors = {"logits": 0.0, "deltas": 0.0}
        self.compared = self.ties = 0
        self.threshold = self.post.score

    def raw(self, session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> None:
        """Compares logits and deltas of one picture."""
        with torch.no_grad():
            raw = self.model.raw(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None])
        self.seen.append(raw)
        values = _run(session, picture)
        self.found.append(values)
        for name, wanted in zip(self.errors, raw, strict=True):
            error = _relative(values[name], wanted.numpy())
            if not error <= RAW_TOLERANCE:
                self._refuse(
                    f"{name} differ from PyTorch's by {error:.1e} of the largest, more than "
                    f"{RAW_TOLERANCE:.0e}"
                )
            self.errors[name] = max(self.errors[name], error)

    def detections(self, threshold: float) -> None:
        """Looks for the twin of every detection on all pictures seen."""
        self.threshold = threshold
        settings = self.head.settings
        self.head.settings = settings.replace(postprocess=self.post.replace(score=threshold))
        try:
            for raw, theirs in zip(self.seen, self.found, strict=True):
                wanted = {k: v.numpy() for k, v in self.head.decode(raw)[0].items()}
                wanted["labels"] = self.ids[wanted["labels"]]
                self._compare(wanted, theirs, raw)
        finally:
            self.head.settings = settings

    def _compare(self, wanted: Found, theirs: Found, raw: RawOutputs) -> None:
        twins = _pairs(wanted, theirs)
        lost: NDArray[np.bool_] = np.logical_not(twins.any(axis=1))
        extra: NDArray[np.bool_] = np.logical_not(twins.any(axis=0))
        self.compared += int((~lost).sum())
        self.ties += int(lost.sum() + extra.sum())
        ours_only, theirs_only = np.flatnonzero(lost).tolist(), np.flatnonzero(extra).tolist()
        made_up = [i for i in theirs_only if not self._is_candidate(theirs, i, raw)]
        missed = [i for i in ours_only if not self._is_tie(wanted, i, theirs, extra)]
        added = [i for i in theirs_only if not self._is_tie(theirs, i, wanted, lost)]
        for found, places in ((theirs, made_up), (wanted, missed), (theirs, added)):
            if places:
                side = "PyTorch" if found is wanted else "onnxruntime"
                self._refuse(
                    f"{side} alone finds category {found['labels'][places[0]]} with score "
                    f"{found['scores'][places[0]]:.4f} at {found['boxes'][places[0]].round(1)}"
                )

    def _is_candidate(self, found: Found, place: int, raw: RawOutputs) -> bool:
        """Tells whether a detection is one that PyTorch had before NMS."""
        column = np.flatnonzero(self.ids[1:] == found["labels"][place]) + 1
        if len(column) != 1:
            return False
        scores = self.head.scores(raw.logits[0])[:, column[0]].numpy()
        near = np.flatnonzero(np.abs(scores - found["scores"][place]) <= SCORE_TOLERANCE)
        boxes = self.head.box_code.decode(raw.code[0, near], self.head.anchors[near])
        boxes = clip_boxes_to_image(boxes, (self.head.image_size, self.head.image_size))
        return bool(_same_place(found["boxes"][place][None], boxes.numpy()).any())

    def _is_tie(self, own: Found, place: int, other: Found, unpaired: NDArray[np.bool_]) -> bool:
        """Tells whether rounding alone may have kept a detection on one side only.

        It may if it stands at the threshold or at the last place, or if NMS was undecided: what
        suppresses it on the other side has its score, or overlaps it just about as much as
        allowed, or is itself unpaired, and judged in its turn.
        """
        score, label = own["scores"][place], own["labels"][place]
        if score <= self.threshold + SCORE_TOLERANCE:
            return True
        is_full = len(other["scores"]) == self.post.detections
        if is_full and score <= other["scores"].min() + SCORE_TOLERANCE:
            return True
        overlap = _iou(own["boxes"][place][None], other["boxes"])[0]
        rivals = (other["labels"] == label) & (overlap >= self.post.iou - IOU_TOLERANCE)
        rivals &= other["scores"] >= score - SCORE_TOLERANCE
        undecided = overlap <= self.post.iou + IOU_TOLERANCE
        undecided |= other["scores"] <= score + SCORE_TOLERANCE
        return bool((rivals & (undecided | unpaired)).any())

    def loose_threshold(self) -> float:
        """A score that some hundred boxes of every picture pass."""
        scores = [self.head.scores(raw.logits[0])[:, 1:].flatten() for raw in self.seen]
        count = min(LOOSE_CANDIDATES, len(scores[0]))
        return max(0.0, min(float(s.topk(count).values[-1]) for s in scores) * 0.999)

    def agreement(self) -> Agreement:
        """What was found."""
        pictures, errors = len(self.seen), self.errors
        return Agreement(pictures, self.compared, self.ties, **errors, threshold=self.threshold)

    def _refuse(self, what: str) -> None:
        raise NasError(f"{self.name}: the ONNX file disagrees with its model: {what}; not kept")


def _run(session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> Found:
    names = ["boxes", "scores", "labels", "logits", "deltas"]
    return dict(zip(names, session.run(names, {"image": as_input(picture)}), strict=True))


def _with_threshold(path: Path, threshold: float) -> onnxruntime.InferenceSession:
    proto = onnx.load(path)
    value = numpy_helper.from_array(np.array([threshold], dtype=np.float32), SCORE_THRESHOLD)
    for constant in proto.graph.initializer:
        if constant.name == SCORE_THRESHOLD:
            constant.CopyFrom(value)
    return start_session(proto.SerializeToString())


def _relative(value: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Largest difference over the largest magnitude; infinite where either isn't a number."""
    if value.shape != wanted.shape or not (np.isfinite(value).all() and np.isfinite(wanted).all()):
        return float("inf")
    return float(np.abs(value - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def _iou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    iou: NDArray[Any] = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    return iou


def _same_place(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """``(n, m)``: IoU above 0.99, or, for boxes of next to no area, corners within 0.01 px."""
    corners = (
        np.abs(first[:, None] - second[None]).max(axis=2) if len(second) else _iou(first, second)
    )
    same: NDArray[np.bool_] = (_iou(first, second) > TWIN_IOU) | (corners <= 0.01)
    return same


def _pairs(first: Found, second: Found) -> NDArray[np.bool_]:
    """``(n, m)``: which detections are twins."""
    near = np.abs(first["scores"][:, None] - second["scores"][None]) <= SCORE_TOLERANCE
    near &= first["labels"][:, None] == second["labels"][None]
    return near & _same_place(first["boxes"], second["boxes"])
