"""The page and its curves: self-contained, well-formed, and in order with the store."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from PIL import Image

from nas.errors import RunError
from nas.report import search_curves
from nas.report.page import write_page
from nas.runs.folder import Run
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.result import Result
from nas.study.trial import Status

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects addresses and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe")
        if tag not in VOID:
            self.open.append(tag)
        names = ("src", "href", "xlink:href")
        self.addresses += [value or "" for name, value in attrs if name in names]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()


@pytest.fixture(scope="module")
def html(run: tuple[Path, Result]) -> str:
    path = write_page(run[0])
    assert path == run[0] / "report" / "index.html"
    return path.read_text(encoding="utf-8")


def test_nothing_is_fetched(html: str) -> None:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert all(a.startswith(("#", "data:image/png;base64,")) for a in reader.addresses)
    # Names of XML namespaces are no links.
    rest = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert "http" not in rest and "url(" not in re.sub(r"url\(#[^)]*\)", "", rest)


def test_it_tells_the_search(html: str, run: tuple[Path, Result]) -> None:
    result = run[1]
    assert result.best is not None
    assert f"The winner: trial {result.best.number}" in html and "<svg" in html
    assert f"{result.finalists[0].mean:.3f}" in html
    assert "params at most 26 M" in html
    assert "--data '/data/my photos'" in unescape(html) and "'/data" not in html
    assert "expected best of" in html and "over limit" in html
    assert "What less costs" in html and "Hypervolume by trials" in html


def test_what_comes_from_outside_is_text(html: str) -> None:
    assert "&lt;b&gt;shapes&lt;/b&gt; differ &amp; more" in html
    assert "&lt;fast&gt;" in html and "<fast>" not in html


def test_the_curves_inside_are_a_picture(html: str) -> None:
    found = re.search(r"data:image/png;base64,([^\"]+)", html)
    assert found
    assert Image.open(io.BytesIO(base64.b64decode(found[1]))).size == (1200, 480)


def test_the_page_is_the_same_when_written_again(html: str, run: tuple[Path, Result]) -> None:
    assert write_page(run[0]).read_text(encoding="utf-8") == html


def test_curves_are_the_same_bytes(run: tuple[Path, Result], tmp_path: Path) -> None:
    records, objective = Run(run[0]).read_search()
    finalists = run[1].finalists
    path = search_curves.write(tmp_path / "new" / "curves.png", records, objective, finalists)
    assert path.read_bytes() == search_curves.curves(records, objective, finalists)
    assert Image.open(io.BytesIO(search_curves.curves([], objective))).size == (1200, 480)


def test_a_search_over_anything_has_a_page(tmp_path: Path) -> None:
    space = ChoiceSpace({"depth": [1, 2, 3]})
    search(space, lambda c, seed: float(c["depth"]), "random", budget=3, run=tmp_path / "any")
    html = write_page(tmp_path / "any", out=tmp_path / "out").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "index.html").is_file()
    assert '{"depth": 3}' in unescape(html) and '{"depth' not in html
    assert "no finalist was re-evaluated" in html


def test_trials_that_were_stopped_early_are_told(halved: Path) -> None:
    records, _ = Run(halved).read_search()
    early = [row for row in records if row.status is Status.STOPPED and row.cached_from is None]
    html = write_page(halved).read_text(encoding="utf-8")
    last = f"score {early[-1].metrics['score']:.3f} at report {len(early[-1].curve)}"
    assert f"<td>stopped early</td><td>{len(early)}</td><td>{last}, " in html
    assert "None: every trial" not in html


def test_proposals_and_draws_are_counted(html: str, halved: Path, run: tuple[Path, Result]) -> None:
    arms = Counter(row.arm for row in run[1].trials)
    assert arms["controller"] + arms["control"] == 24
    assert f" {arms['controller']} were proposed by the <b>controller</b>" in html
    assert f"; {arms['control']} are <b>random</b> draws" in html
    assert "were proposed by" not in write_page(halved).read_text(encoding="utf-8")  # one arm


@pytest.mark.parametrize("name", ['it\'s "mine"', "b: #1", "größe 1", "null"])
def test_the_data_folder_is_named_as_the_settings_name_it(halved: Path, name: str) -> None:
    config = halved / "config.yaml"
    config.write_text(yaml.safe_dump({"job": "search", "data_dir": name}), encoding="utf-8")
    try:
        html = unescape(write_page(halved, out=halved / "out").read_text(encoding="utf-8"))
    finally:
        config.unlink()
    assert f"nas eval {halved}-final --data {shlex.quote(name)}\n" in html


def test_a_training_has_no_page(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("job: train\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"holds a training.*metrics\.json"):
        write_page(tmp_path)


def test_a_folder_without_a_search_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        write_page(tmp_path)
    assert "\n" not in str(caught.value)
