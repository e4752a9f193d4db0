"""`nas train --dry-run`: the published plan is what is printed, and nothing is left behind."""

from __future__ import annotations

import re
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from rich.console import Console

from nas import environment
from nas.cli.main import main
from nas.config.loading import EXPERIMENTS, load_train
from nas.config.run_start import trained_genome
from nas.data.coco import load_split
from nas.errors import ConfigError
from nas.planning import train_needs, train_plan, train_probe
from nas.planning.train_needs import lacking_disk, lacking_memory, time_rows
from nas.planning.train_plan import show_plan
from nas.planning.train_probe import PlannedTraining, Probe
from nas.training.recipes import resolve
from nas.ui.data_loading import load_both
from search_spaces import zoo
from tests.jobs.coco import IDS, part_of_size, write_coco

SMALL = ["--set=scale.width=0.0625", "--set=scale.head_width=8", "--set=scale.input_size=128"]
Usage = namedtuple("Usage", "total used free")

# By file: what stands in the plan. Sources: arXiv 1912.05027v3 §5.1 and tensorflow/tpu,
# models/official/detection/configs/spinenet/*.yaml; parameters from its MODEL_ZOO.md.
PUBLISHED = {
    "spinenet49": (
        "28.54 M parameters, 85.28",  # G multiply-adds; published: 28.5 M and 85.4 G
        "640 px, letterbox",
        "500 epochs of 463 steps: 231,500 steps",
        "256 images",
        "SGD, momentum 0.9, weight decay 4e-05 on kernels only, gradients clipped at norm 10",
        "0.28; warm-up over 2,000 steps (4.3 epochs) from 0.0067; "
        "× 0.1 after epoch 470, from step 217,610; × 0.1 after epoch 490, from step 226,870",
        "half of them mirrored, scale 0.5 to 2, cropped or padded",
        "0.2 at the last block",
        "swish",
        "momentum 0.01, as torch counts",
    ),
    "spinenet96": (
        "42.97 M parameters",
        "1024 px, letterbox",
        "500 epochs of 463 steps: 231,500 steps",
        "from step 217,610; × 0.1 after epoch 490, from step 226,870",
        "0.2 at the last block",
    ),
    "spinenet143": (
        "66.96 M parameters",
        "1280 px, letterbox",
        "500 epochs of 463 steps: 231,500 steps",
        "scale 0.1 to 1.9",
        "0.16 at the last block",
        "jitter 0.1, 1.9: the config's; the paper has 0.5 to 2.0",
    ),
    "spinenet190": (
        "163.64 M parameters",
        "400 epochs of 463 steps: 185,200 steps",
        "0.3; warm-up over 2,000 steps (4.3 epochs) from 0.0067; "
        "× 0.1 after epoch 370, from step 171,310; × 0.1 after epoch 390, from step 180,570",
        "scale 0.1 to 1.9",
        "epochs 400: the config's; the paper has 500",
    ),
    "r0_sp53": (
        "250 epochs of 463 steps: 115,750 steps",
        "× 0.1 after epoch 220, from step 101,860; × 0.1 after epoch 240, from step 111,120",
        "scale 0.8 to 1.2",
        "relu",
        "DropBlock: block size and keep probability are not published",
    ),
    "spinenet_mobile": (
        "600 epochs of 463 steps: 277,800 steps",
        "weight decay 3e-05",
        "warm-up over 500 steps",
        "from step 263,910; × 0.1 after epoch 590, from step 273,170",
    ),
    "ssdlite": (
        "3.44 M parameters",
        "660 epochs of 610 steps: 402,600 steps",
        "1,021 images without a box are left out",
        "192 images",
        "weight decay 4e-05 on all weights, gradients not clipped",
        "0.15; warm-up over 609 steps (1.0 epochs) from 0.00015; a cosine to 0, lower with each "
        "epoch",
        "crop around a box (IoU), half of them mirrored",
    ),
}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that aren't broken, whatever width the shared console has by then."""
    for module in (train_plan, train_needs):
        monkeypatch.setattr(module, "console", Console(width=600, highlight=False))


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    config = load_train(name)
    split, val = part_of_size(118_287, empty=1021), part_of_size(5000)
    show_plan(config, trained_genome(config), split, val)
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_printed_plan_is_the_published_one(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = printed(name, capsys)
    assert [text for text in PUBLISHED[name] if text not in plan] == []


@pytest.mark.usefixtures("wide")
def test_the_plan_says_what_becomes_of_the_last_batch(capsys: pytest.CaptureFixture[str]) -> None:
    # 463 · 256 − 118,287 = 241; 117,266 − 610 · 192 = 146
    assert "filled up with 241 images from the epoch's start" in printed("spinenet49", capsys)
    assert "146 of an epoch's images don't fill a batch" in printed("ssdlite", capsys)


def test_what_a_user_sets_is_no_choice_of_sources() -> None:
    text = train_plan.choices_text(resolve("spinenet_c_190"))
    assert "lr 0.3: the config's; the paper has 0.28" in text
    assert "lr 0.2" not in train_plan.choices_text(resolve("spinenet_c_190", {"lr": 0.2}))


def test_a_smaller_batch_scales_the_rates() -> None:
    text = train_plan.rate_text(resolve("spinenet_b", {"batch_size": 64}), 1849)
    assert text.startswith("0.07 (0.28 for batches of 256, scaled to this one)")
    assert "from 0.001675" in text  # 0.0067 / 4


def test_each_of_the_zoo_has_an_experiment_that_says_what_was_published() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in EXPERIMENTS.glob("*.yaml")}
    ours = [
        text
        for path, text in texts.items()
        if yaml.safe_load(text)["job"] == "train" and path.stem != "demo_train"
    ]
    words = {word.strip("#;,.()") for text in ours for word in text.split()}
    assert [name for name in zoo.names() if name not in words] == []
    for text in ours:
        said = " ".join(text.replace("\n#", "\n").split())
        assert "Not run here." in said
        assert "Aimed at, not reproduced here" in said or "No published number at hand" in said


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("name", ["spinenet49", "spinenet96"])
def test_a_folder_in_coco_s_layout_is_taken_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    root = write_coco(tmp_path / "coco")
    before = sorted(tmp_path.rglob("*"))
    words = ["train", name, "--data", str(root), "--run", "run", "--dry-run", *SMALL]
    assert main([*words, "--set=recipe.batch_size=4"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "20 to train on, 4 to judge on, 3 classes" in out
    assert "500 epochs of 5 steps: 2,500 steps" in out
    for row in ("memory", "a step", "training", "judging", "all of it", "disk for checkpoints"):
        assert row in out
    assert re.search(r"an update of 2 images \(of [123] updates\)", out)
    assert re.search(r"extrapolated to 4 at once", out)
    assert sorted(tmp_path.rglob("*")) == before
    split, val = load_both(root)
    assert tuple(category.id for category in split.categories) == IDS
    assert val.categories == split.categories


def training(**changes: Any) -> PlannedTraining:
    """SpineNet-49 by protocol C on COCO, without its model."""
    config = load_train("spinenet49")
    config = config.model_copy(update={"data": config.data.model_copy(update={"pixels": "decode"})})
    split, val = part_of_size(118_287), part_of_size(5000)
    given = {"split": split, "val": val, "folder": Path("run"), **changes}
    return PlannedTraining(cast(Any, None), config, **given)


PROBE = Probe(
    images=2,
    updates=3,
    update=2.0,
    decode=0.5,
    augment=0.25,
    detect=1.5,
    before=500_000_000,
    peak=3_000_000_000,
    activations=1e9,
    room=10_000_000_000,
)


def test_memory_by_hand() -> None:
    """3 GB with 2 images of 1 GB each: 1 GB beside them, 257 GB with 256; 9 fit into 10 GB."""
    assert PROBE.memory(256) == 257e9
    (line,) = lacking_memory(training(), PROBE)
    assert line == (
        "256 images at once need 257.0 GB of memory, and 10.0 GB can be had: "
        "set recipe.micro_batch=8"
    )
    assert lacking_memory(training(processes=32), PROBE) == []  # 8 images each


def test_time_by_hand() -> None:
    """An image takes 1 s to learn and 0.75 s to prepare beside it: 256 s a step of 231,500."""
    rows = time_rows(training(), PROBE, datetime(2026, 1, 1, tzinfo=UTC))
    assert rows["a step"] == "256.00 s extrapolated to 256 images, 1.00 images a second"
    assert rows["training"] == "686 days for 231,500 steps"  # 59,264,000 s
    assert rows["judging"] == "2 h 47 min for 5,000 images, once"  # 5000 · (1.5 + 0.5) s
    assert rows["all of it"].startswith("686 days; begun now, it is over on 18 Nov 2027")


def test_disk_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = [("pixels", 145_000_000_000, Path("cache")), ("checkpoints", 10**9, Path("run"))]
    monkeypatch.setattr(train_needs, "disk_needs", lambda _: needs)
    monkeypatch.setattr(train_needs.shutil, "disk_usage", lambda _: Usage(9, 0, 53_000_000_000))
    (line,) = lacking_disk(training())
    assert line.startswith("pixels and checkpoints need 146.0 GB of disk, and 53.0 GB are free")
    assert line.endswith("decode in each epoch with data.pixels=decode")
    monkeypatch.setattr(train_needs.shutil, "disk_usage", lambda _: Usage(9, 0, 146_000_000_000))
    assert lacking_disk(training()) == []


LACKING = {
    "memory": "2 images at once need",
    "disk": "pixels and checkpoints need",
    "device": "2 images at once don't fit",
}


@pytest.mark.parametrize("lacking", LACKING)
def test_what_the_machine_lacks_costs_one_line_and_exit_code_2(
    lacking: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    if lacking == "memory":
        monkeypatch.setattr(environment, "free_memory_bytes", lambda: 1_000_000)
    elif lacking == "disk":
        monkeypatch.setattr(train_needs.shutil, "disk_usage", lambda _: Usage(9, 0, 1000))
    else:
        monkeypatch.setattr(train_probe, "train_epochs", out_of_memory)
    root = write_coco(tmp_path / "coco")
    words = ["train", "ssdlite", "--data", str(root), "--run", "run", "--dry-run"]
    small = ["--set=scale.input_size=64", "--set=recipe.batch_size=4"]
    assert main([*words, *small]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"nas: {LACKING[lacking]}")
    assert not (tmp_path / "run").exists()


def out_of_memory(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB")


def test_a_warm_up_as_long_as_the_training_is_refused_before(tmp_path: Path) -> None:
    config = load_train("spinenet49")
    split = load_split(write_coco(tmp_path / "coco", images=10))
    with pytest.raises(ConfigError, match=r"warmup_steps 2000 is as long .*500 epochs of 1 steps"):
        show_plan(config, trained_genome(config), split, split)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spinenet49", "spinenet96"])
def test_at_full_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As typed; whether it fits depends on the machine, and both answers are one line's worth."""
    monkeypatch.chdir(tmp_path)
    root = write_coco(tmp_path / "coco", images=12)
    words = ["train", name, "--data", str(root), "--dry-run", "--set=recipe.batch_size=2"]
    code = main(words)
    shown = capsys.readouterr()
    assert code in (0, 2)
    assert "what it takes" in shown.out or "images at once need" in shown.err
