"""`nas predict`: finds objects in pictures, and draws them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.data.named_pictures import DRAWN_BY, is_drawing, list_pictures
from nas.data.resize import read_rgb, resize
from nas.errors import DataError
from nas.files import write_text
from nas.jobs.load import load_trained
from nas.runs.outputs import check_folder, result_folder
from nas.ui.console import console
from nas.ui.contact_sheet import write_png
from nas.ui.draw import draw_boxes

if TYPE_CHECKING:
    from nas.training.weights import TrainedModel


def predict(
    ref: str | Path | TrainedModel,
    images: Sequence[Path],
    *,
    out: Path | None = None,
    score: float = 0.3,
) -> list[Path]:
    """Writes each picture with boxes and names, and `detections.json` with the numbers.

    A picture that can't be read is named and left out, and the others are done. What is done when
    the command is stopped is kept.

    Args:
        ref: a run, a checkpoint, or a trained model.
        images: picture files; a folder stands for the pictures in it, without its sub-folders.
        out: folder for the results; `predictions` by default.
        score: boxes below are left out.

    Returns:
        The files written.

    Raises:
        NasError: nothing is trained, the results can't be written, or, once all others are done,
            some picture can't be read.
    """
    out = out or Path("predictions")
    check_folder(out, "--out", "detections.json")
    pictures = list_pictures(images, out)
    with result_folder(out):
        trained = load_trained(ref, "predict with") if isinstance(ref, str | Path) else ref
        for note in pictures.notes:
            console.print(note)
        work = _Predictions(trained, pictures.paths, out, score)
        try:
            work.run()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(work.stopped()) from None
        finally:
            work.write_table()
    work.refuse_if_some_failed()
    return [*work.written, out / "detections.json"]


class _Predictions:
    """Pictures that go through a model, and the results so far."""

    def __init__(
        self, trained: TrainedModel, paths: Sequence[Path], out: Path, score: float
    ) -> None:
        self.trained, self.paths, self.out, self.score = trained, paths, out, score
        self.written: list[Path] = []
        self.failed: list[DataError] = []
        self._table: dict[str, list[dict[str, Any]]] = {}
        self._used = {path.resolve() for path in paths}

    def run(self) -> None:
        """Takes one picture after the other; one that can't be read doesn't end it."""
        for path in self.paths:
            try:
                pixels = _read(path)
            except DataError as error:
                self.failed.append(error)
                if len(self.paths) > 1:
                    console.print(str(error))
                continue
            self._detect(path, pixels)

    def _detect(self, path: Path, pixels: np.ndarray) -> None:
        rows = detections(self.trained, pixels, self.score)
        file = self._free_name(path)
        write_png(_drawn(pixels, rows), file, software=DRAWN_BY)
        self.written.append(file)
        self._table[str(path)] = rows
        shown = ", ".join(f"{d['name']} {d['score']:.2f}" for d in rows[:5]) or "nothing found"
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        console.print(f"{path}: {shown}{more}")

    def write_table(self) -> None:
        """Writes the detections in all pictures that are done, if there is one."""
        path = self.out / "detections.json"
        if not self._table:
            return
        try:
            write_text(path, json.dumps(self._table, indent=1) + "\n")
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written ({error.strerror or error}); make room there, or "
                "name another --out"
            ) from error

    def stopped(self) -> str:
        """Returns the message of a command that is stopped."""
        if not self._table:
            return "stopped before a picture was done"
        return (
            f"stopped; {len(self._table)} of {len(self.paths)} pictures are done and in "
            f"{self.out / 'detections.json'}"
        )

    def refuse_if_some_failed(self) -> None:
        """Raises the error of the only picture, or one that counts those that failed."""
        if len(self.failed) == len(self.paths) == 1:
            raise self.failed[0]
        if self.failed:
            done = f"the other {len(self._table)} are in {self.out}" if self._table else "no other"
            raise DataError(
                f"{len(self.failed)} of {len(self.paths)} pictures can't be read and are left out "
                f"({done}); the first: {self.failed[0]}"
            )

    def _free_name(self, path: Path) -> Path:
        """Returns a name for a drawn picture that is neither another's nor the user's own."""
        file, number = self.out / f"{path.stem}.png", 2
        while file.resolve() in self._used or (file.exists() and not is_drawing(file)):
            file, number = self.out / f"{path.stem}-{number}.png", number + 1
        self._used.add(file.resolve())
        return file


def _read(path: Path) -> np.ndarray:
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: neither a file nor a folder; name a picture")
    return read_rgb(path)


def detections(trained: TrainedModel, pixels: Any, score: float) -> list[dict[str, Any]]:
    """Returns the objects in one picture, best first.

    Args:
        trained: the model.
        pixels: uint8 `(H, W, 3)`.
        score: boxes below are left out.

    Returns:
        For each `category_id` (the user's), `name`, `score` and `bbox` as COCO has it: x,
        y, width, height in pixels of the picture.
    """
    import torch

    source = trained.genome.input
    square, place = resize(pixels, source.size, source.resize)
    batch = torch.from_numpy(square).permute(2, 0, 1)[None]
    with torch.inference_mode():
        outputs = trained.detector.eval().detect(batch)[0]
    height, width = pixels.shape[:2]
    boxes = place.to_image(outputs["boxes"].double().numpy())
    rows = []
    for box, label, value in zip(
        boxes, outputs["labels"].tolist(), outputs["scores"].tolist(), strict=True
    ):
        left, top = max(0.0, float(box[0])), max(0.0, float(box[1]))
        right, bottom = min(float(width), float(box[2])), min(float(height), float(box[3]))
        if value >= score and right > left and bottom > top:
            category = trained.categories[label - 1]
            rows.append(
                {
                    "category_id": category.id,
                    "name": category.name,
                    "score": round(value, 5),
                    "bbox": [round(v, 2) for v in (left, top, right - left, bottom - top)],
                }
            )
    return rows


def _drawn(pixels: Any, rows: list[dict[str, Any]]) -> Any:
    boxes = np.array([d["bbox"] for d in rows], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    texts = [f"{d['name']} {d['score']:.2f}" for d in rows]
    return draw_boxes(pixels, boxes, texts, [d["category_id"] for d in rows])
