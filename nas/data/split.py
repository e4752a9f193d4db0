"""Makes `train.json` and `val.json` from a folder with one annotation file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nas.data.annotations import AnnotationFile, read_annotations
from nas.data.coco import assemble, count
from nas.data.folder_layout import find_whole, read_json
from nas.data.photo_blocks import divide
from nas.data.problems import ESCAPE, Problem
from nas.data.values import whole
from nas.errors import DataError
from nas.files import replacing


@dataclass(frozen=True)
class Cut:
    """What `split_folder` wrote, and what it left out.

    Attributes:
        json_path: The annotation file that was cut up.
        train_json: The file of the training part.
        val_json: The file of the other part.
        images: Images in `json_path`.
        train_images: Those of them in `train_json`.
        val_images: Those of them in `val_json`.
        boxes: Annotations in `json_path`.
        train_boxes: Those of them in `train_json`.
        val_boxes: Those of them in `val_json`.
        problems: What can't be used in `json_path`, or is probably not what was meant. Images
            that can't be used are left out, with their boxes; all else stays.
    """

    json_path: Path
    train_json: Path
    val_json: Path
    images: int
    train_images: int
    val_images: int
    boxes: int
    train_boxes: int
    val_boxes: int
    problems: tuple[Problem, ...]

    @property
    def left_out(self) -> tuple[int, int]:
        """How many images, and how many annotations, are in neither file."""
        return (
            self.images - self.train_images - self.val_images,
            self.boxes - self.train_boxes - self.val_boxes,
        )


def split_folder(
    root: Path | str,
    *,
    val: float = 0.2,
    by: Literal["blocks", "images"] = "blocks",
    seed: int = 0,
) -> Cut:
    """Cuts the one annotation file of a folder into `train.json` and `val.json` beside it.

    The images stay where they are. Neighbouring frames stay on one side, as in a hold-out. Ids of
    images are written as whole numbers: 8.0 and "8" as 8.

    Args:
        root: The folder: an annotation file in it, in `annotations/` or in one folder below, and
            the images where `find_whole` looks for them.
        val: Share of the images that goes to `val`.
        by: `blocks` of the natural order of file names, or single `images`.
        seed: Other seeds draw other blocks.

    Raises:
        DataError: There isn't exactly one annotation file, the files to write exist or can't be
            written, a file name leads out of the folder, or none of the images can be used.
    """
    if not 0 < val < 1:
        raise DataError(f"val {val} is not a share; give a number between 0 and 1, such as 0.2")
    root = Path(root)
    targets = root / "train.json", root / "val.json"
    for target in targets:
        if target.exists():
            raise DataError(
                f"{target}: exists already; if it holds all images, rename it to annotations.json"
            )
    layout = find_whole(root)
    with _parts_of(targets) as temporaries:
        file = read_annotations(layout)
        _refuse_unusable(file)
        all_images, _ = assemble(file, "all")
        parts = divide(all_images, val, seed, by=by)
        document = read_json(layout.json_path)
        sides = [_only(document, {i.id: i.path for i in part.images}, root) for part in parts]
        for side, temporary in zip(sides, temporaries, strict=True):
            temporary.write_text(json.dumps(side))
    train_side, val_side = sides
    return Cut(
        json_path=layout.json_path,
        train_json=targets[0],
        val_json=targets[1],
        images=len(document["images"]),
        train_images=len(train_side["images"]),
        val_images=len(val_side["images"]),
        boxes=len(document["annotations"]),
        train_boxes=len(train_side["annotations"]),
        val_boxes=len(val_side["annotations"]),
        problems=tuple(file.problems),
    )


@contextmanager
def _parts_of(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Makes empty files beside the targets, before any work, so that it isn't done in vain.

    In the end they take the targets' places, the first one first.
    """
    try:
        with ExitStack() as stack:
            temporaries = [
                stack.enter_context(replacing(target, shared=True)) for target in reversed(targets)
            ][::-1]
            for temporary in temporaries:
                temporary.touch(exist_ok=False)
            yield temporaries
    except OSError as error:
        raise DataError(
            f"{targets[0]}: cannot be written ({error.strerror or error}); copy the folder to "
            "where there is room and you may write"
        ) from error


def _refuse_unusable(file: AnnotationFile) -> None:
    path = file.layout.json_path
    for problem in file.problems:
        if problem.kind == ESCAPE:
            raise DataError(str(problem))
    if not len(file.pictures.ids):
        lost = [problem for problem in file.problems if problem.left_out]
        why = f"{count(lost)}; the first: {lost[0]}" if lost else "'images' is empty"
        raise DataError(f"{path}: none of its images can be used: {why}")


def _only(document: dict[str, Any], paths: Mapping[int, Path], root: Path) -> dict[str, Any]:
    """Returns the document with these images alone, each named from the root."""
    images: dict[int, dict[str, Any]] = {}
    for row in document["images"]:
        key = whole(row.get("id"))
        if key is not None and key in paths and key not in images:
            name = paths[key].relative_to(root).as_posix()
            images[key] = {**row, "id": key, "file_name": name}
    annotations = [
        {**row, "image_id": key}
        for row in document["annotations"]
        if (key := whole(row.get("image_id"))) in images
    ]
    return {**document, "images": list(images.values()), "annotations": annotations}
