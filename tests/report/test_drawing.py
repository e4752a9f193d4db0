"""The drawing: what is in it, where, and that it never changes by itself."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from nas.errors import RunError
from nas.genome import Genome
from nas.report.drawing import draw as drawing
from nas.report.drawing.placement import Drawing, lay_out, sample
from search_spaces import zoo
from search_spaces.spinenet.space import SpineNetSpace


def sampled(seed: int) -> Genome:
    return SpineNetSpace().sample(random.Random(seed))


def texts(document: str) -> list[str]:
    root = ElementTree.fromstring(document)
    return [
        "".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize("seed", [None, 0, 4])
def test_every_block_and_output_is_there(seed: int | None) -> None:
    genome = zoo.genome("spinenet-49") if seed is None else sampled(seed)
    document = drawing.svg(genome)
    shown = texts(document)
    kept = [name for name in genome.graph() if name != "image"]
    assert {*kept, "P3", "P4", "P5", "P6", "P7"} <= set(shown)
    ids = set(re.findall(r'id="g0-edge-([^"]+)"', document))
    assert {f"{parent}-{child}" for parent, child in genome.graph().edges} <= ids
    dead = [block.id for block in genome.blocks if block.id not in kept]
    assert any(f"faded: {', '.join(dead)} reach" in text for text in shown) == bool(dead)


def test_title_tells_name_and_cost() -> None:
    shown = texts(drawing.svg(zoo.genome("spinenet-49")))
    assert shown.count("spinenet-49") == 1
    # The paper counts 28.5 M parameters and 85.4 G multiply-adds.
    assert any("28.54 M parameters" in text and "85.28 G" in text for text in shown)


def test_who_reads_the_outputs() -> None:
    assert "output, read by the detection head" in texts(drawing.svg(zoo.genome("spinenet-49")))
    told = texts(drawing.svg(zoo.genome("yoloret-mobilenetv2-0.75")))
    assert "output, read by the RFCR neck" in told


def test_repeats_are_marked() -> None:
    assert "×3" in texts(drawing.svg(zoo.genome("spinenet-143")))
    assert "×3" not in texts(drawing.svg(zoo.genome("spinenet-49")))


def test_two_genomes_share_a_drawing() -> None:
    first, second = zoo.genome("spinenet-49"), zoo.genome("r0-sp53")
    document = drawing.svg(first, second)
    assert {"spinenet-49", "r0-sp53"} <= set(texts(document))
    one = Image.open(io.BytesIO(drawing.png(first)))
    both = Image.open(io.BytesIO(drawing.png(first, second)))
    assert both.width == one.width and both.height > 1.7 * one.height


def test_png_has_the_size_asked_for() -> None:
    picture = Image.open(io.BytesIO(drawing.png(sampled(1), width=900)))
    assert picture.format == "PNG" and picture.width == 900
    corner = picture.convert("RGB").getpixel((2, 2))
    assert corner == (255, 255, 255)


def test_same_bytes_in_another_process(tmp_path: Path) -> None:
    svg, png = drawing.write(tmp_path / "new" / "s49", zoo.genome("spinenet-49"))
    code = (
        "from pathlib import Path; from nas.report.drawing import draw as drawing; "
        f"from search_spaces import zoo; drawing.write(Path({str(tmp_path)!r}) / 'again', "
        "zoo.genome('spinenet-49'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert svg.read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert png.read_bytes() == (tmp_path / "again.png").read_bytes()
    assert b"date" not in svg.read_bytes().lower()


def test_a_place_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't be written") as caught:
        drawing.write(tmp_path / "file" / "x", zoo.genome("spinenet-49"))
    assert "\n" not in str(caught.value)


def kinds(layout: Drawing) -> dict[tuple[str, str], str]:
    return {(curve.parent, curve.child): curve.kind for curve in layout.curves}


def test_edges_are_told_apart() -> None:
    # Levels of SpineNet-49's listing: 0, 1, 2 at 2; 3 at 4; 4 at 3; 9 at 7; 10, 11, 14 at 5.
    found = kinds(lay_out(zoo.genome("spinenet-49")))
    assert found["0", "3"] == "down"
    assert found["9", "10"] == "up"
    assert found["0", "2"] == "same"
    assert found["11", "14"] == "merge"  # the listing's one dangling block
    assert found["image", "stem"] == found["stem", "pool"] == "direct"
    assert sum(kind == "merge" for kind in found.values()) == 1


def test_order_is_across_and_level_is_up() -> None:
    layout = lay_out(sampled(2))
    xs = [node.x for node in layout.nodes]
    assert xs == sorted(xs)
    for one in layout.nodes[1:]:
        for other in layout.nodes[1:]:
            assert (one.level < other.level) == (one.y < other.y)


@pytest.mark.parametrize("seed", range(3))
def test_edges_keep_clear_of_other_blocks(seed: int) -> None:
    layout = lay_out(sampled(seed))
    places = {node.id: np.array([node.x, node.y]) for node in layout.nodes}
    hits = 0
    for curve in layout.curves:
        points = sample(curve.points, 200)
        assert points[0] == pytest.approx(places[curve.parent])
        assert points[-1] == pytest.approx(places[curve.child])
        assert points[:, 1].min() > -layout.height and points[:, 1].max() < 2 * layout.height
        others = [
            place for name, place in places.items() if name not in (curve.parent, curve.child)
        ]
        gaps = np.linalg.norm(points[:, None] - np.array(others)[None], axis=2)
        hits += int(gaps.min() < 12)
    assert hits <= 1


def test_long_listings_make_wider_drawings() -> None:
    genome = zoo.genome("spinenet-49")
    extra = [
        genome.blocks[2].replace(id=f"more{i}", inputs=genome.blocks[3].inputs) for i in range(30)
    ]
    long = genome.replace(blocks=(*genome.blocks[:3], *extra, *genome.blocks[3:]))
    layout = lay_out(long)
    assert layout.width > 1800 and len(layout.dead) == 30
    gaps = np.diff([node.x for node in layout.nodes])
    assert gaps.min() > 35
