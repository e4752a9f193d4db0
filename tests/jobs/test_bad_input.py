"""Bad files from a user: exit code 2 and one line that names the file and a remedy."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from nas.cli.main import main
from nas.data.scenes import write_scenes
from search_spaces import zoo


class Bomb:
    """Unpickling this would leave a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("exploded").touch, ()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(root, seed=2, images=12)
    return root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenes: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    genome = json.loads(zoo.genome("spinenet-49").to_json())
    genome["blocks"][5]["inputs"][0]["block"] = "nobody"
    Path("lost_parent.json").write_text(json.dumps(genome))
    Path("half.json").write_text('{"version": 1, "blocks": [')
    Path("list.json").write_text("[1, 2]")
    Path("noise.safetensors").write_bytes(bytes(range(256)) * 8)
    Path("pickle.safetensors").write_bytes(pickle.dumps(Bomb()))
    headers: dict[str, Any] = {
        "bare": {"version": 1, "categories": []},
        "list": [1],
        "bad": {"version": 1, "categories": [], "genome": {"version": 1}},
    }
    for name, header in headers.items():
        weights = {"x": np.zeros(1, dtype=np.float32)}
        save_file(weights, f"{name}.safetensors", metadata={"nas": json.dumps(header)})
    Path("tagged.yaml").write_text("seed: !!bool x\n")
    Path("no_picture.jpg").write_text("not a picture")
    Image.new("RGB", (64, 64)).save("whole.png")
    Path("cut.png").write_bytes(Path("whole.png").read_bytes()[:60])
    for name, text in {
        "broken": '{"images": [',
        "list": "[]",
        "empty": '{"images": [], "annotations": [], "categories": []}',
        "escape": json.dumps(
            {
                "images": [{"id": 1, "file_name": "../../whole.png", "width": 64, "height": 64}],
                "annotations": [
                    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81}
                ],
                "categories": [{"id": 1, "name": "a"}],
            }
        ),
    }.items():
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / "train.json").write_text(text)
    shutil.copytree(scenes, tmp_path / "boxless")
    judged = json.loads((scenes / "val.json").read_text())
    (tmp_path / "boxless/val.json").write_text(json.dumps({**judged, "annotations": []}))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("job: search\n")
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "config.yaml").write_text("job: train\ndata_dir: gone\n")
    (tmp_path / "run" / "trials.sqlite").write_bytes(pickle.dumps(Bomb()))
    return tmp_path


ROWS = {
    "genome cut short": ("show half.json", "half.json"),
    "genome that is a list": ("profile list.json", "list.json"),
    "genome with an unknown parent": ("profile lost_parent.json", "nobody"),
    "genome that isn't there": ("show gone.json", "gone.json"),
    "misspelt zoo name": ("profile spinenet-94", "spinenet-9"),
    "zoo name to predict with": ("predict spinenet-49 whole.png", "nas train --genome spinenet-49"),
    "zoo name to evaluate": ("eval spinenet-49 --data {scenes}", "nas train"),
    "data of a training that moved": (
        "eval moved",
        "moved/config.yaml: there is no folder gone; name it with --data DIR",
    ),
    "architecture as ONNX": ("export spinenet-49 --format onnx --out out", "train it first"),
    "unknown format": ("export spinenet-49 --format jsn --out out", "json"),
    "checkpoint of noise": ("predict noise.safetensors whole.png", "noise.safetensors"),
    "checkpoint that is a pickle": ("eval pickle.safetensors --data {scenes}", "pickle.safet"),
    "--init that is a pickle": (
        "train --genome spinenet-49 --data {scenes} --init pickle.safetensors --run r "
        "--set scale.width=0.0625 --set scale.input_size=128",
        "pickle.safetensors",
    ),
    "store that is a pickle": ("top run", "trials.sqlite"),
    "data folder without annotations": ("search --data nothing --run r", "train.json"),
    "annotations cut short": ("search --data broken --run r", "train.json"),
    "annotations that are a list": ("train --data list --run r", "train.json"),
    "annotations without images": ("train --data empty --run r", "train.json"),
    "nothing to judge on": ("train --data boxless --run r", "val.json: no usable box on 2 images"),
    "file name that leaves the folder": ("search --data escape --run r", "whole.png"),
    "folder to check": ("data check nothing", "nothing"),
    "checkpoint without a genome": ("predict bare.safetensors whole.png", "bare.safetensors"),
    "checkpoint whose header is a list": ("predict list.safetensors whole.png", "list.safetensors"),
    "checkpoint with a broken genome": ("predict bad.safetensors whole.png", "bad.safetensors"),
    "width below 0": ("search --data {scenes} --run r --set space.deploy.width=-1", "width"),
    "value under a wrong tag": ("search tagged.yaml --run r", "tagged.yaml"),
    "one image a batch": (
        "train --genome spinenet-49 --data {scenes} --run r --set recipe.batch_size=1",
        "batch_size",
    ),
    "proxy too small": (
        "search --data {scenes} --run r --dry-run --set proxy.scale.input_size=96",
        "128",
    ),
    "input too small": (
        "train --genome spinenet-49 --data {scenes} --run r --set scale.input_size=96",
        "128",
    ),
    "unknown controller": (
        "search --data {scenes} --run r --set controller.name=evolutoin",
        "did you mean 'evolution'",
    ),
    "unknown option of a controller": (
        "search --data {scenes} --run r --dry-run --set controller.name=evolution "
        "--set controller.options.populaton=9",
        "controller.options.populaton",
    ),
    "limit on an unknown cost": (
        "search --data {scenes} --run r --limit parms=30e6",
        "objective.limits names 'parms'; known costs are bits, macs, params",
    ),
    "unknown metric to maximise": (
        "search --data {scenes} --run r --dry-run --set objective.maximize=ap5",
        "objective.maximize is 'ap5'",
    ),
    "unknown cost to minimise": (
        "search --data {scenes} --run r --set objective.minimize=[flops]",
        "objective.minimize names 'flops'",
    ),
    "unknown cost in the shape": (
        "search --data {scenes} --run r --set objective.shape.kind=soft "
        "--set objective.shape.cost=mac --set objective.shape.target=1e9",
        "objective.shape.cost names 'mac'",
    ),
    "run folder with other things": ("search --data {scenes} --run nothing/..", "--run"),
}


@pytest.mark.parametrize(("words", "named"), ROWS.values(), ids=ROWS.keys())
def test_one_line_and_exit_code_2(
    words: str, named: str, here: Path, scenes: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words.format(scenes=scenes).split()) == 2
    error = capfd.readouterr().err
    assert error.startswith("nas: ") and error.count("\n") == 1, error
    assert named in error and "Traceback" not in error
    assert not (here / "exploded").exists()
    assert words.startswith("train") or not (here / "r").exists()


@pytest.mark.parametrize("picture", ["no_picture.jpg", "cut.png", "gone.jpg"])
def test_pictures_that_are_none(
    picture: str, here: Path, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(trained), picture]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and picture in error
