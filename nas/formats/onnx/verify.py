"""Whether an exported file gives what the PyTorch model gives, on real images."""

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
from nas.formats.onnx.postprocess import DETECTIONS, SCORE_THRESHOLD
from nas.formats.onnx.runtime import as_input, start_session
from nas.genome import Genome
from nas.models import Detector
from nas.models.heads.anchor_head import AnchorHead
from nas.temporary import temporary_folder

RAW_TOLERANCE = 1e-4
"""The largest difference of raw outputs, relative to the tensor's largest magnitude."""
SCORE_TOLERANCE = 1e-4
IOU_TOLERANCE = 1e-3
TWIN_IOU = 0.99
PICTURES = 8
LOOSE_CANDIDATES = 300

Arrays = dict[str, NDArray[Any]]
Raw = tuple[torch.Tensor, ...]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with its model.

    Attributes:
        pictures: compared; detections: after NMS, all of which have their twin.
        ties: detections, beyond those, on which NMS may decide either way within rounding.
        raw: of each raw output, the largest difference relative to the tensor's largest magnitude.
        threshold: score above which detections were compared: the model's own, or a lower one
            where that left none.
    """

    pictures: int
    detections: int
    ties: int
    raw: dict[str, float]
    threshold: float


def pictures(images: Sequence[Path], genome: Genome) -> list[NDArray[np.uint8]]:
    """Returns pictures to compare on, at a genome's input size: uint8 `(S, S, 3)`.

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
    """Returns the first of the images that can be decoded."""
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
        path: of the file.
        model: on the CPU, in evaluation mode.
        ids: the user's category id of each label, from label 1.
        images: uint8 `(S, S, 3)` at the model's input size.
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
    if judge.compared == 0 and judge.dense is not None:
        # Nothing passes the model's own threshold: compare the best boxes all the same.
        threshold = judge.loose_threshold()
        loose = _with_threshold(path, threshold)
        judge.found = [_run(loose, picture, model.head.raw_names) for picture in images]
        judge.detections(threshold)
    return judge.agreement()


class _Judge:
    """Compares picture by picture and remembers the worst.

    Attributes:
        dense: the head, where the file has the operators of dense anchors; None where it has a
            tail of the head's own.
    """

    def __init__(self, model: Detector, ids: Sequence[int], name: str) -> None:
        self.model, self.head, self.name = model, model.head, name
        self.post = self.head.settings.postprocess
        self.ids = np.array([0, *ids], dtype=np.int64)
        own_tail = self.head.export_tail() is not None
        self.dense = self.head if isinstance(self.head, AnchorHead) and not own_tail else None
        self.raws: list[Raw] = []
        self.found: list[Arrays] = []
        self.errors = dict.fromkeys(self.head.raw_names, 0.0)
        self.compared = self.ties = 0
        self.threshold = self.post.score

    def raw(self, session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> None:
        """Compares the raw outputs of one image."""
        with torch.no_grad():
            raw = self.model.raw(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None])
        self.raws.append(raw)
        values = _run(session, picture, self.head.raw_names)
        self.found.append(values)
        for name, expected in zip(self.errors, raw, strict=True):
            error = _relative(values[name], expected.numpy())
            if not error <= RAW_TOLERANCE:
                self._refuse(
                    f"{name} differ from PyTorch's by {error:.1e} of the largest, more than "
                    f"{RAW_TOLERANCE:.0e}"
                )
            self.errors[name] = max(self.errors[name], error)

    def detections(self, threshold: float) -> None:
        """Looks for the twin of every detection on all pictures."""
        self.threshold = threshold
        settings = self.head.settings
        self.head.settings = settings.replace(postprocess=self.post.replace(score=threshold))
        try:
            for raw, theirs in zip(self.raws, self.found, strict=True):
                ours = {k: v.numpy() for k, v in self.head.postprocess(raw)[0].items()}
                ours["labels"] = self.ids[ours["labels"]]
                self._compare(ours, theirs, raw)
        finally:
            self.head.settings = settings

    def _compare(self, ours: Arrays, theirs: Arrays, raw: Raw) -> None:
        """Compares the detections of one image, and refuses those without a twin or an excuse."""
        twins = _pairs(ours, theirs)
        lost: NDArray[np.bool_] = np.logical_not(twins.any(axis=1))
        extra: NDArray[np.bool_] = np.logical_not(twins.any(axis=0))
        self.compared += int((~lost).sum())
        self.ties += int(lost.sum() + extra.sum())
        ours_only, theirs_only = np.flatnonzero(lost).tolist(), np.flatnonzero(extra).tolist()
        made_up = [i for i in theirs_only if not self._is_candidate(theirs, i, raw)]
        missed = [i for i in ours_only if not self._is_tie(ours, i, theirs, extra)]
        added = [i for i in theirs_only if not self._is_tie(theirs, i, ours, lost)]
        for detections, places in ((theirs, made_up), (ours, missed), (theirs, added)):
            if places:
                side = "PyTorch" if detections is ours else "onnxruntime"
                category, score = (detections[k][places[0]] for k in ("labels", "scores"))
                self._refuse(
                    f"{side} alone finds category {category} with score {score:.4f} at "
                    f"{detections['boxes'][places[0]].round(1)}"
                )

    def _is_candidate(self, detections: Arrays, place: int, raw: Raw) -> bool:
        """Tells whether a detection is one that PyTorch had before NMS, as far as is known."""
        if self.dense is None:
            return True
        logits, deltas = raw
        column = np.flatnonzero(self.ids[1:] == detections["labels"][place]) + 1
        if len(column) != 1:
            return False
        scores = self.dense.scores(logits[0])[:, column[0]].numpy()
        near = np.flatnonzero(np.abs(scores - detections["scores"][place]) <= SCORE_TOLERANCE)
        boxes = self.dense.box_coder.decode(deltas[0, near], self.dense.anchors[near])
        boxes = clip_boxes_to_image(boxes, (self.dense.image_size, self.dense.image_size))
        return bool(_same_place(detections["boxes"][place][None], boxes.numpy()).any())

    def _is_tie(self, own: Arrays, place: int, other: Arrays, unpaired: NDArray[np.bool_]) -> bool:
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
        """Returns a score that some hundred boxes of every picture pass."""
        assert self.dense is not None
        scores = [self.dense.scores(logits[0])[:, 1:].flatten() for logits, _ in self.raws]
        count = min(LOOSE_CANDIDATES, len(scores[0]))
        return max(0.0, min(float(s.topk(count).values[-1]) for s in scores) * 0.999)

    def agreement(self) -> Agreement:
        """Returns what was found."""
        return Agreement(
            len(self.raws), self.compared, self.ties, dict(self.errors), self.threshold
        )

    def _refuse(self, what: str) -> None:
        raise NasError(f"{self.name}: the ONNX file disagrees with its model: {what}; not kept")


def _run(
    session: onnxruntime.InferenceSession, picture: NDArray[np.uint8], raw_names: Sequence[str]
) -> Arrays:
    """Runs a file on one image; returns its outputs by name."""
    names = [*DETECTIONS, *raw_names]
    return dict(zip(names, session.run(names, {"image": as_input(picture)}), strict=True))


def _with_threshold(path: Path, threshold: float) -> onnxruntime.InferenceSession:
    proto = onnx.load(path)
    value = numpy_helper.from_array(np.array([threshold], dtype=np.float32), SCORE_THRESHOLD)
    for constant in proto.graph.initializer:
        if constant.name == SCORE_THRESHOLD:
            constant.CopyFrom(value)
    return start_session(proto.SerializeToString())


def _relative(value: NDArray[Any], expected: NDArray[Any]) -> float:
    """Returns the largest difference over the largest magnitude; infinity for nan."""
    if value.shape != expected.shape or not np.isfinite([value, expected]).all():
        return float("inf")
    return float(np.abs(value - expected).max() / max(np.abs(expected).max(), 1e-30))


def _iou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    iou: NDArray[Any] = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    return iou


def _same_place(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells, `(n, m)`, which boxes overlap by 0.99, or, of next to no area, are within 0.01 px."""
    corners = (
        np.abs(first[:, None] - second[None]).max(axis=2) if len(second) else _iou(first, second)
    )
    same: NDArray[np.bool_] = (_iou(first, second) > TWIN_IOU) | (corners <= 0.01)
    return same


def _pairs(first: Arrays, second: Arrays) -> NDArray[np.bool_]:
    """Tells, `(n, m)`, which detections are twins."""
    near = np.abs(first["scores"][:, None] - second["scores"][None]) <= SCORE_TOLERANCE
    near &= first["labels"][:, None] == second["labels"][None]
    return near & _same_place(first["boxes"], second["boxes"])
