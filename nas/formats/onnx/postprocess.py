"""The postprocess of dense anchors as ONNX nodes: from raw outputs to detections.

The steps are those of `AnchorHead.postprocess`, for one image; NMS runs per class, over at most
`candidates` boxes each. A head that works otherwise brings its own tail (`Head.export_tail`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from nas.models.box_coder import MAX_LOG_SCALE, BoxCoder
from nas.models.heads.anchor_head import AnchorHead

PREFIX = "postprocess/"
SCORE_THRESHOLD = PREFIX + "score_threshold"
DETECTIONS = ("boxes", "scores", "labels")
"""The outputs that every exported file has, in order."""


class AnchorTail:
    """Nodes and constants; `outputs` are `boxes`, `scores` and `labels`.

    Reads `logits` `(1, A, K)`, whose column 0 is background, and `deltas` `(1, A, 4)`.
    Gives `boxes` `(n, 4)` as x1, y1, x2, y2 in pixels of the input, `scores` `(n,)`
    falling, and `labels` `(n,)`, the user's category ids.
    """

    def __init__(self, head: AnchorHead[Any], ids: Sequence[int]) -> None:
        """Makes the nodes and constants.

        Args:
            head: on the CPU; its anchors, box coder and settings become constants.
            ids: the user's category id of each column but the first.
        """
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.settings = head.settings.postprocess
        anchors = head.anchors.numpy().astype(np.float32)
        boxes = self._boxes(anchors, head.box_coder, head.image_size)
        scores = self._scores(head.exclusive)
        if len(anchors) > self.settings.candidates:
            kept = self._best_of_each_class(boxes, scores)
        else:
            kept = self._all_of_each_class(boxes, scores)
        self._best(*kept, np.array(ids, dtype=np.int64))
        floats, whole = TensorProto.FLOAT, TensorProto.INT64
        self.outputs: list[ValueInfoProto] = [
            helper.make_tensor_value_info("boxes", floats, ["detections", 4]),
            helper.make_tensor_value_info("scores", floats, ["detections"]),
            helper.make_tensor_value_info("labels", whole, ["detections"]),
        ]

    def _constant(self, name: str, value: Any, kind: Any = np.float32) -> str:
        tensor = numpy_helper.from_array(np.asarray(value, dtype=kind), PREFIX + name)
        if all(constant.name != tensor.name for constant in self.constants):
            self.constants.append(tensor)
        return tensor.name

    def _whole(self, *values: int) -> str:
        return self._constant("int_" + "_".join(map(str, values)), values, np.int64)

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        name = output if output in DETECTIONS else PREFIX + output
        self.nodes.append(helper.make_node(kind, inputs, [name], PREFIX + output, **attributes))
        return name

    def _boxes(self, anchors: NDArray[Any], coder: BoxCoder, size: int) -> str:
        """Decodes boxes, `(1, A, 4)`, clipped to the image."""
        sides = anchors[:, 2:] - anchors[:, :2]
        x_y = self._constant("x_y", coder.columns[:2], np.int64)
        w_h = self._constant("w_h", coder.columns[2:], np.int64)
        anchor_sides = self._constant("anchor_sides", sides)
        deltas = "deltas"
        if any(weight != 1 for weight in coder.weights):
            weights = self._constant("code_weights", coder.weights)
            deltas = self._node("Div", [deltas, weights], "unweighted")
        shift = self._node("Gather", [deltas, x_y], "shift", axis=2)
        shift = self._node("Mul", [shift, anchor_sides], "shift_px")
        centre_of_anchor = self._constant("anchor_centres", anchors[:, :2] + sides / 2)
        centre = self._node("Add", [shift, centre_of_anchor], "centre")
        scale = self._node("Gather", [deltas, w_h], "log_scale", axis=2)
        scale = self._node("Min", [scale, self._constant("cap", MAX_LOG_SCALE)], "capped")
        scale = self._node("Exp", [scale], "scale")
        half_sides = self._constant("half_sides", sides / 2)
        half = self._node("Mul", [scale, half_sides], "half")
        low = self._node("Sub", [centre, half], "low")
        high = self._node("Add", [centre, half], "high")
        boxes = self._node("Concat", [low, high], "unclipped", axis=2)
        edges = [self._constant("zero", 0.0), self._constant("side", float(size))]
        return self._node("Clip", [boxes, *edges], "all_boxes")

    def _scores(self, exclusive: bool) -> str:
        """Computes scores, `(1, C, A)`, C being the classes without the background."""
        ends = [self._whole(1), self._whole(np.iinfo(np.int64).max), self._whole(2)]
        if exclusive:
            whole = self._node("Softmax", ["logits"], "probabilities", axis=2)
            scores = self._node("Slice", [whole, *ends], "by_anchor")
        else:
            logits = self._node("Slice", ["logits", *ends], "classes")
            scores = self._node("Sigmoid", [logits], "by_anchor")
        return self._node("Transpose", [scores], "by_class", perm=[0, 2, 1])

    def _nms(self, boxes: str, scores: str) -> str:
        limits = [
            # More than the detections kept can't come from one class.
            self._whole(self.settings.detections),
            self._constant("iou_threshold", [self.settings.iou]),
            self._constant("score_threshold", [self.settings.score]),
        ]
        return self._node("NonMaxSuppression", [boxes, scores, *limits], "selected")

    def _all_of_each_class(self, boxes: str, scores: str) -> tuple[str, str, str]:
        """Gives boxes, scores and class of what NMS keeps, among the same boxes for every class."""
        selected = self._nms(boxes, scores)
        classes = self._node("Gather", [selected, self._one(1)], "selected_class", axis=1)
        place = self._node("Gather", [selected, self._one(2)], "selected_place", axis=1)
        flat = self._node("Squeeze", [boxes, self._whole(0)], "flat_boxes")
        kept = self._node("Gather", [flat, place], "kept_boxes", axis=0)
        return kept, self._node("GatherND", [scores, selected], "kept_scores"), classes

    def _best_of_each_class(self, boxes: str, scores: str) -> tuple[str, str, str]:
        """Gives the same, where each class brings only its best candidates: a batch of classes."""
        best, places = PREFIX + "candidate_scores", PREFIX + "candidate_places"
        count = self._whole(self.settings.candidates)
        self.nodes.append(helper.make_node("TopK", [scores, count], [best, places], axis=2))
        flat = self._node("Squeeze", [boxes, self._whole(0)], "flat_boxes")
        places = self._node("Squeeze", [places, self._whole(0)], "candidates_by_class")
        own = self._node("Gather", [flat, places], "candidate_boxes", axis=0)
        best = self._node("Transpose", [best], "scores_by_class", perm=[1, 0, 2])
        selected = self._nms(own, best)
        classes = self._node("Gather", [selected, self._one(0)], "selected_class", axis=1)
        pairs = self._node("Gather", [selected, self._whole(0, 2)], "selected_pair", axis=1)
        kept = self._node("GatherND", [own, pairs], "kept_boxes")
        return kept, self._node("GatherND", [best, selected], "kept_scores"), classes

    def _one(self, value: int) -> str:
        return self._constant(f"index_{value}", value, np.int64)

    def _best(self, boxes: str, scores: str, classes: str, ids: NDArray[np.int64]) -> None:
        """Keeps the best over all classes, by score."""
        number = self._node("Shape", [scores], "found")
        count = self._node("Min", [number, self._whole(self.settings.detections)], "count")
        order = PREFIX + "order"
        self.nodes.append(helper.make_node("TopK", [scores, count], ["scores", order], axis=0))
        self._node("Gather", [boxes, order], "boxes", axis=0)
        chosen = self._node("Gather", [classes, order], "chosen_class", axis=0)
        self._node("Gather", [self._constant("category_ids", ids, np.int64), chosen], "labels")
