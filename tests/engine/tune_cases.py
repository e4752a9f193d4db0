"""A controller as Ray Tune's searcher: what Tune gets, what the controller hears, and restored.

Run by test_tune.py, in a process of its own.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.errors import ConfigError, RunError
from nas.executors import ComputeSettings
from nas.executors.ray.cluster import running_ray
from nas.genome import Genome
from nas.space import ChoiceSpace
from tests.engine.toys import SPACES, total

SPACE = ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(3)})


@pytest.fixture(scope="module")
def searcher() -> Callable[..., Any]:
    """Makes searchers."""
    # As in `running_ray`: read when Ray is imported, for the tests that will start it.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from nas.executors.tune import ControllerSearcher

    def made(space: Any = SPACE, name: str = "evolution", **options: Any) -> Any:
        return ControllerSearcher(space, name, **{"metric": "score"} | options)

    return made


@pytest.fixture(scope="module")
def ray(searcher: Any) -> Iterator[None]:
    with running_ray(ComputeSettings(workers=2)):
        yield


def events(searcher: Any, folder: Path) -> list[dict[str, Any]]:
    searcher.save(str(folder / "events.json"))
    return list(json.loads((folder / "events.json").read_text())["events"])


def test_a_config_is_what_is_searched(searcher: Any) -> None:
    class Zoo(ChoiceSpace):
        def decode(self, code: Any) -> Any:
            from search_spaces import zoo

            return zoo.genome(("spinenet-49", "spinenet-96")[code[0]])

        def key(self, candidate: Any) -> str:
            return str(candidate.key)

    config = searcher().suggest("a")
    assert list(config) == ["l0", "l1", "l2"] and SPACE.contains(config)
    keys = set()
    zoo = searcher(Zoo({"a": [0, 1]}))
    for trial in "ab":
        config = zoo.suggest(trial)
        assert list(config) == ["candidate"] and isinstance(config["candidate"], str)
        keys.add(Genome.from_json(config["candidate"]).key)
    assert len(keys) == 2 and zoo.suggest("c") == "FINISHED"


def test_the_lowest_is_sought_as_the_highest(searcher: Any) -> None:
    tried = []
    for mode, sign in (("max", 1.0), ("min", -1.0)):
        one, configs = searcher(SPACES["product"](), mode=mode, seed=2), []
        for number in range(40):
            configs.append(one.suggest(str(number)))
            one.on_trial_complete(str(number), {"score": sign * total(configs[-1], 0)})
        tried.append(configs)
    assert tried[0] == tried[1]
    with pytest.raises(ConfigError, match=r"mode is 'best'; 'max' or 'min'"):
        searcher(mode="best")


def test_how_a_trial_ends(searcher: Any, tmp_path: Path) -> None:
    one = searcher(mode="min")
    for trial in "abcdef":
        one.suggest(trial)
    one.on_trial_complete("nobody's", {"score": 9.0})
    one.on_trial_complete("a", {"score": 3.0, "done": True})
    one.on_trial_complete("a", {"score": 4.0})
    one.on_trial_result("b", {"score": 5.0})
    one.on_trial_complete("b", error=True)
    one.on_trial_result("c", {"score": 6.0})
    one.on_trial_complete("c")  # stopped while it paused
    one.on_trial_complete("d")  # never started
    one.on_trial_result("e", {"score": 2.0})
    one.on_trial_complete("e", {"score": math.nan})
    one.on_trial_result("f", {"other": 1.0})
    one.on_trial_complete("f", {"other": 1.0})
    assert events(one, tmp_path)[6:] == [
        {"event": "told", "number": 0, "reward": -3.0},
        {"event": "told", "number": 1, "reward": None},
        {"event": "told", "number": 2, "reward": -6.0},
        {"event": "withdrawn", "number": 3},
        {"event": "told", "number": 4, "reward": -6.0},
        {"event": "withdrawn", "number": 5},
    ]


@pytest.mark.parametrize("name", ["evolution", "predictor", "ppo"])
def test_tune_saves_restores_and_pickles_it(searcher: Any, name: str, tmp_path: Path) -> None:
    """Through Tune's own wrappers: of four at once none is told twice, and no file is a pickle."""
    from ray.tune.search import ConcurrencyLimiter, SearchGenerator

    def wrapped(one: Any) -> tuple[Any, Any]:
        limiter = ConcurrencyLimiter(one, max_concurrent=4)
        return SearchGenerator(limiter), limiter

    generator, limiter = wrapped(searcher(name=name))
    for number in range(20):
        config = limiter.suggest(str(number))
        if number >= 4:  # its trial was suggested four before
            assert config is None
            generator.on_trial_complete(str(number - 4), {"score": float(number % 7)})
            config = limiter.suggest(str(number))
        assert SPACE.contains(config)
    generator.save_to_dir(str(tmp_path), session_str="2026-01-01_00-00-00")
    assert json.loads((tmp_path / "searcher-state-2026-01-01_00-00-00.json").read_text())
    fresh, fresh_limiter = wrapped(searcher(name=name))
    fresh.restore_from_dir(str(tmp_path))
    copied = pickle.loads(pickle.dumps(limiter))
    following = []
    for one in (limiter, fresh_limiter, copied):
        assert one.suggest("20") is None
        one.on_trial_complete("16", {"score": 3.0})
        following.append(one.suggest("20"))
    assert following[0] == following[1] == following[2]
    with pytest.raises(RunError, match=r"seed was 0 .* now 1"):
        wrapped(searcher(name=name, seed=1))[0].restore_from_dir(str(tmp_path))


def train(config: dict[str, Any]) -> None:
    """Reports four times, better each time; writes down that it was run."""
    from ray import tune

    with Path(config["log"]).open("a") as log:
        log.write(json.dumps([[config[f"l{i}"] for i in range(3)], os.getpid()]) + "\n")
    for epoch in range(1, 5):
        tune.report({"score": epoch * (1 + config["l0"] + config["l1"] + config["l2"])})


def tuner(search_alg: Any, folder: Path, count: int, **run: Any) -> Any:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    scheduler = ASHAScheduler(
        metric="score", mode="max", max_t=4, grace_period=1, reduction_factor=2
    )
    return tune.Tuner(
        train,
        param_space={"log": str(folder / "log")},
        tune_config=tune.TuneConfig(
            search_alg=search_alg,
            scheduler=scheduler,
            num_samples=count,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), name="run", verbose=0, **run),
    )


def logged(folder: Path) -> list[tuple[tuple[int, ...], int]]:
    """The candidate and the process of each time that a trial was run."""
    lines = (folder / "log").read_text().splitlines()
    return [(tuple(choices), process) for choices, process in map(json.loads, lines)]


@pytest.mark.slow
def test_with_asha_and_reused_actors(searcher: Any, ray: None, tmp_path: Path) -> None:
    one = searcher(name="predictor", seed=1)
    results = tuner(one, tmp_path, 14).fit()
    assert len(results) == 14 and not results.errors
    for wanted in ("result.json", "progress.csv", "events.out.tfevents.*"):  # Tune's loggers
        assert len(list(tmp_path.glob(f"run/*/{wanted}"))) == 14
    lengths = Counter(result.metrics["training_iteration"] for result in results)
    assert lengths[4] and sum(lengths.values()) > lengths[4]  # some were stopped early
    runs = logged(tmp_path)
    assert len({candidate for candidate, _ in runs}) == len(runs) == 14
    assert len({process for _, process in runs}) < 14
    happened = events(one, tmp_path)
    trials = [event["trial"] for event in happened if event["event"] == "asked"]
    told = {trials[e["number"]]: e["reward"] for e in happened if e["event"] == "told"}
    assert told == {r.metrics["trial_id"]: r.metrics["score"] for r in results}


@pytest.mark.slow
def test_an_interrupted_experiment_goes_on(
    searcher: Any, ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import tune

    class Interrupt(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            marker = tmp_path / "interrupted"
            if sum(one.status == "TERMINATED" for one in trials) >= 5 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGUSR1)  # Tune takes it as it does Ctrl-C

    monkeypatch.setenv("TUNE_DISABLE_SIGINT_HANDLER", "1")
    before = signal.getsignal(signal.SIGUSR1)
    try:
        first = tuner(searcher(seed=1), tmp_path, 12, callbacks=[Interrupt()]).fit()
        finished = {
            tuple(result.config[f"l{i}"] for i in range(3))
            for result in first
            if result.metrics and result.metrics.get("done")
        }
        assert 5 <= len(finished) < 12
        results = tune.Tuner.restore(str(tmp_path / "run"), trainable=train).fit()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(results) == 12 and not results.errors
    runs = Counter(candidate for candidate, _ in logged(tmp_path))
    assert len(runs) == 12 and all(runs[candidate] == 1 for candidate in finished)
    again = searcher(seed=1)
    again.restore_from_dir(str(tmp_path / "run"))
    happened = Counter(event["event"] for event in events(again, tmp_path))
    assert happened == {"asked": 12, "told": 12}
