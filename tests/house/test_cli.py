"""The command line: what is wrong costs one line and exit code 2; what is right reaches its job."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas.cli import main as cli
from nas.cli.main import main
from nas.config.loading import to_yaml
from nas.config.schema import SearchConfig, TrainConfig
from nas.errors import DataError
from nas.executors.interrupt import SearchInterrupted

VERBS = ["search", "train", "resume", "top", "show", "report", "eval", "predict"]
VERBS += ["compare", "profile", "export", "demo", "doctor", "data", "device"]

BAD = {
    "unknown verb": ("serach", "Did you mean 'search'"),
    "unknown option": ("search --budgets 3", "--budgets"),
    "missing argument": ("top", "RUN"),
    "no verb": ("data", "Missing command"),
    "number out of range": ("search --workers 0", "'--workers': Input should be greater"),
    "unknown config": ("search birds", "birds: no such file, and no name in experiments/"),
    "broken YAML": ("search broken.yaml", "broken.yaml, line 2: no YAML"),
    "unknown key": ("search unknown.yaml", "unknown.yaml: unknown key 'budgte'; did you mean"),
    "wrong type": ("search wrong.yaml", "wrong.yaml: seed is 'x'; it should be a valid integer"),
    "config of the other job": ("train search.yaml", "type nas search search.yaml"),
    "folder as config": ("search folder", "folder: no such file"),
    "unknown key in --set": ("search --set proxy.recip=1", "did you mean 'recipe'"),
    "no value in --set": ("search --set seed", "--set seed: write it as --set key=value"),
    "limit that is no number": ("search --limit params=big", "should be a valid number"),
    "no budget": ("search --budget 8x", "--budget 8x: budget: '8x' is no duration"),
    "missing data folder": ("search --data nowhere", "there is no folder"),
    "missing run": ("resume nowhere", "nowhere: there is no such run"),
    "folder that is no run": ("resume folder", "folder: holds no run"),
    "damaged config of a run": ("resume damaged", "config.yaml: job is None"),
    "data of a run that moved": (
        "resume moved",
        "moved/config.yaml: there is no folder gone; name it with --data DIR",
    ),
    "data moved to nowhere": ("resume moved --data nowhere", "--data"),
    "budget of a training": (
        "resume moved --data folder --budget 8h",
        "moved: holds a training, and --budget is for searches; leave it out",
    ),
    "empty option": ("show spinenet-49 --out=", "--out: is empty"),
    "empty run": ("search --run=", "--run: is empty"),
    "seed below 0": ("search --seed -1", "'--seed': Input should be greater"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text("seed: 1\ndata: [", encoding="utf-8")
    (tmp_path / "unknown.yaml").write_text("budgte: 3", encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text("seed: x", encoding="utf-8")
    (tmp_path / "search.yaml").write_text("job: search", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.yaml").write_text("seed: 1", encoding="utf-8")
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "config.yaml").write_text("job: train\ndata_dir: gone", encoding="utf-8")
    return tmp_path


class Job:
    """Stands in for a module of `nas.jobs` and keeps what it was called with."""

    def __init__(self, verb: str, result: Any = None) -> None:
        self.arguments: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}
        self.result = result
        setattr(self, verb, self.call)

    def call(self, *arguments: Any, **options: Any) -> Any:
        self.arguments, self.options = arguments, options
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Any:
    def stand_in(module: str, verb: str | None = None, result: Any = None) -> Job:
        made = Job(verb or module, result)
        monkeypatch.setitem(sys.modules, f"nas.jobs.{module}", made)
        return made

    return stand_in


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_costs_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    line, message = BAD[case]
    assert main(line.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("nas: ")
    assert message in printed.err


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"nas {verb}" in capsys.readouterr().out


def test_without_words_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("spinenas ")


def test_search_gets_its_config(folder: Path, job: Any) -> None:
    search = job("search")
    line = "search search.yaml --budget 8h --limit params=30e6 --set seed=4 --workers 3 --dry-run"
    assert main([*line.split(), "--data", "folder", "--run", "runs/a"]) == 0
    config, run = search.arguments
    assert isinstance(config, SearchConfig)
    assert (config.budget, config.seed, config.compute.workers) == ("8h", 4, 3)
    assert config.objective.limits == {"params": 30e6}
    assert config.data_dir == folder / "folder"
    assert run == Path("runs/a")
    assert search.options == {"dry_run": True}


def test_a_warm_start_reaches_the_search(folder: Path, job: Any) -> None:
    search = job("search")
    assert main(["search", "--warm-start", "folder"]) == 0
    assert search.arguments[0].warm_start == folder / "folder"


def test_options_that_stand_for_settings(folder: Path, job: Any) -> None:
    search, train = job("search"), job("train")
    assert main(["search", "--controller", "evolution", "--seed", "5"]) == 0
    assert (search.arguments[0].controller.name, search.arguments[0].seed) == ("evolution", 5)
    assert main(["train", "--seed", "6"]) == 0
    assert train.arguments[0].seed == 6


def test_a_target_is_landed_on_from_both_sides(folder: Path, job: Any) -> None:
    search = job("search")
    assert main(["search", "--target", "latency_ms=30"]) == 0
    shape = search.arguments[0].objective.shape
    assert (shape.kind, shape.cost, shape.target, shape.w) == ("absolute", "latency_ms", 30, -0.1)
    softer = ["--set=objective.shape.kind=soft", "--set=objective.shape.weight=-0.2"]
    assert main(["search", "--target", "macs=3e8", *softer]) == 0
    shape = search.arguments[0].objective.shape
    assert (shape.kind, shape.cost, shape.target, shape.w) == ("soft", "macs", 3e8, -0.2)


@pytest.mark.parametrize("verb", ["search", "train"])
def test_the_examples_in_the_help_are_accepted(folder: Path, job: Any, verb: str) -> None:
    called = job(verb)
    for name in ("DIR", "COCO_DIR"):
        (folder / name).mkdir()
    examples = re.findall(rf"^ +nas ({verb} .*)$", getattr(cli, verb).__doc__, re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        assert main(example.split()) == 0
    if verb == "train":
        config = called.arguments[0]
        assert (config.genome, config.recipe.base) == ("spinenet-49", "spinenet_c")


def test_a_run_without_a_name_gets_the_next_number(folder: Path, job: Any) -> None:
    search, train = job("search"), job("train")
    (folder / "runs" / "search-1").mkdir(parents=True)
    assert main(["search"]) == main(["train", "--genome", "runs/fod:17"]) == 0
    assert search.arguments[1] == Path("runs/search-2")
    assert train.arguments[0].genome == "runs/fod:17"
    assert train.arguments[1] == Path("runs/train-1")
    assert not (folder / "runs" / "search-2").exists()


def test_resume_reads_the_run(folder: Path, job: Any) -> None:
    train = job("train")
    kept = TrainConfig(seed=9)
    (folder / "damaged" / "config.yaml").write_text(to_yaml(kept), encoding="utf-8")
    assert main(["resume", "damaged"]) == 0
    assert train.arguments == (kept, Path("damaged"))


def test_resume_takes_data_from_where_they_are_now(folder: Path, job: Any) -> None:
    train = job("train")
    assert main(["resume", "moved", "--data", "folder"]) == 0
    assert train.arguments[0].data_dir == folder / "folder"


@pytest.mark.parametrize(
    ("line", "module", "verb", "arguments", "options"),
    [
        ("top r", "top", "top", (Path("r"),), {"count": 10}),
        ("show a b", "show", "show", ("a", "b"), {"out": None}),
        ("compare a b", "compare", "compare", (Path("a"), Path("b")), {}),
        ("eval a --data d", "evaluate", "evaluate", ("a", Path("d")), {"out": None}),
        ("predict a x y", "predict", "predict", ("a", [Path("x"), Path("y")]), {"score": 0.3}),
        ("export a --format onnx,py", "export", "export", ("a", ["onnx", "py"]), {"data": None}),
        ("data check d", "data.check", "check", (Path("d"),), {"size": 640}),
        (
            "device add a b",
            "device.add",
            "add",
            ([Path("a"), Path("b")],),
            {"out": Path("device.json")},
        ),
    ],
)
def test_words_reach_their_job(
    job: Any, line: str, module: str, verb: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    called = job(module, verb)
    assert main(line.split()) == 0
    assert called.arguments == arguments
    assert options.items() <= called.options.items()


def test_files_that_a_job_made_are_named(job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    job("predict", result=[Path("out/[a].png"), Path("out/b.png")])
    assert main(["predict", "a", "x"]) == 0
    assert capsys.readouterr().out == "out/[a].png\nout/b.png\n"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SearchInterrupted("stopped after 3 trials")])
def test_stopped_jobs_tell_how_to_go_on(
    job: Any, capsys: pytest.CaptureFixture[str], stop: BaseException
) -> None:
    job("search", result=stop)
    assert main(["search", "--run", "runs/a b"]) == 130
    assert capsys.readouterr().err == f"nas: {str(stop) or 'stopped'}\n"  # nothing was begun
    Path("runs/a b").mkdir(parents=True)
    Path("runs/a b/config.yaml").touch()
    assert main(["search", "--run", "runs/a b"]) == 130
    printed = capsys.readouterr().err
    assert printed == f"nas: {str(stop) or 'stopped'}; nas resume 'runs/a b' goes on\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("d/train.json: line 3\nis cut"), 2, "nas: d/train.json: line 3 is cut\n"),
        (KeyboardInterrupt(), 130, "nas: stopped\n"),
        (ZeroDivisionError("by zero"), 1, "nas: ZeroDivisionError: by zero; run again with NAS_D"),
    ],
)
def test_errors_of_a_job(
    job: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    monkeypatch.delenv("NAS_DEBUG", raising=False)
    job("top", "top", error)
    assert main(["top", "r"]) == code
    assert capsys.readouterr().err.startswith(line)


def test_traceback_on_request(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_DEBUG", "1")
    job("top", "top", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["top", "r"])


def test_doctor_decides_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for good, code in ((True, 0), (False, 1)):
        stand_in = SimpleNamespace(doctor=lambda good=good: good)
        monkeypatch.setitem(sys.modules, "nas.jobs.doctor", stand_in)
        assert main(["doctor"]) == code


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["show", ""], "an argument: is empty"),
        (["show", "spinenet-49", "--out", ""], "--out: is empty"),
        (["search", "--data", ""], "--data: is empty"),
    ],
)
def test_an_empty_word_is_no_path(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"nas: {named}")


def test_what_a_library_makes_of_a_signal_is_still_a_stop(
    job: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("numpy can't be imported") from None

    job("top", "top")
    monkeypatch.setattr(sys.modules["nas.jobs.top"], "top", interrupted)
    assert main(["top", "r"]) == 143
    assert capsys.readouterr().err == "nas: stopped\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_has_its_exit_code(
    job: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    code: int,
) -> None:
    job("top", "top")
    monkeypatch.setattr(
        sys.modules["nas.jobs.top"], "top", lambda *_, **__: signal.raise_signal(number)
    )
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)  # whoever runs the tests may ignore it
    try:
        assert main(["top", "r"]) == code
        assert capsys.readouterr().err == "nas: stopped\n"
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)
