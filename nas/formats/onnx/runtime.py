"""A detector from an exported ONNX file alone: neither torch nor the genome's code is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nas.data.resize import read_rgb, resize
from nas.errors import NasError, one_line
from nas.formats.onnx.metadata import Card


class Detections(NamedTuple):
    """What was found in one picture, best first.

    Attributes:
        boxes: `(n, 4)` float32 x1, y1, x2, y2 in pixels of the picture, inside it.
        scores: `(n,)` float32.
        labels: `(n,)` int64, the user's category ids.
        names: of these categories.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]


class OnnxDetector:
    """Predicts with onnxruntime.

    Example:
        >>> detector = OnnxDetector("model.onnx")
        >>> boxes, scores, labels, names = detector("photo.jpg")
    """

    def __init__(self, path: Path | str, threads: int = 0) -> None:
        """Opens a file.

        Args:
            path: what `nas export` has written.
            threads: for one operator; 0 takes as many as there are cores.

        Raises:
            NasError: it is no model of `nas export`, or can't be run.
        """
        self.path = Path(path)
        self.session = start_session(self.path, threads)
        properties = self.session.get_modelmeta().custom_metadata_map
        self.card = Card.from_properties(properties, str(path))
        self._names = {category.id: category.name for category in self.card.categories}

    def __call__(self, image: Path | str | NDArray[np.uint8], score: float = 0.0) -> Detections:
        """Finds objects.

        Args:
            image: a file, or RGB pixels uint8 `(H, W, 3)`.
            score: detections below are left out, beyond the threshold inside the model.

        Raises:
            DataError: the file is no readable image.
        """
        picture = image if isinstance(image, np.ndarray) else read_rgb(image)
        square, placement = resize(picture, self.card.input_size, self.card.resize)
        outputs = ["boxes", "scores", "labels"]
        boxes, scores, labels = self.session.run(outputs, {"image": as_input(square)})
        height, width = picture.shape[:2]
        edge = np.array([width, height] * 2, dtype=np.float32)
        boxes = np.clip(placement.to_image(boxes), 0, edge).astype(np.float32)
        # What lies in the padding alone is nothing in the picture.
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (scores >= score)
        labels = labels[kept]
        names = tuple(self._names[int(label)] for label in labels)
        return Detections(boxes[kept], scores[kept], labels, names)


def as_input(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turns uint8 `(S, S, 3)` into what the file reads: float32 `(1, 3, S, S)` in 0…1."""
    planes = np.ascontiguousarray(square.transpose(2, 0, 1)[None])
    pixels: NDArray[np.float32] = planes.astype(np.float32) / np.float32(255)
    return pixels


def start_session(model: Path | bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """Loads a file, or a model in memory, on the CPU.

    Raises:
        NasError: it isn't there, or onnxruntime can't load it.
    """
    name = "model" if isinstance(model, bytes) else str(model)
    if isinstance(model, Path) and not model.is_file():
        raise NasError(f"{name}: there is no such file; nas export REF --format onnx writes one")
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        line = one_line(error, 200)
        raise NasError(f"{name}: onnxruntime can't load it ({line})") from None
