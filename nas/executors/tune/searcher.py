"""Ray Tune: a controller as a `Searcher`, for users who have a Tune experiment already.

Tune owns the trials, their resources, schedulers and records. The controller proposes what to try
next and is told, of every trial, one end:

- its last result: the metric, negated for `mode="min"`; the worst reward so far if not finite;
- an error, after Tune's own retries: the candidate is infeasible;
- no result at all: the proposal is withdrawn.

A trial that a scheduler stopped early counts with its last value too. Where the metric improves
in training, that is less than the candidate is worth, never more, and the order is close to the
scheduler's own, which stops at a rung what is behind. Only the gaps look wider. Without such trials
the controller would not learn what to keep away from. If the metric may also worsen, report the
best value so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from nas.controllers import ControllerSettings
from nas.errors import ConfigError
from nas.executors.tune.suggestions import Suggestions
from nas.space import Space

try:
    from ray.tune.search import Searcher
except ImportError as error:
    raise ImportError(
        f"Ray Tune can't be imported ({error.__cause__ or error}); what it needs comes with "
        "pip install 'spinenas[tune]'"
    ) from error


class ControllerSearcher(Searcher):
    """Proposes candidates of a space to Ray Tune, none of them twice.

    The config of a trial is what is searched and no more: for a `ChoiceSpace` the choices by their
    names, for another space `{"candidate": ...}`, a genome as its JSON text. Constants (a seed, a
    data folder) come from `param_space`, which Tune merges in. When nothing new can be found, the
    experiment ends.

    The state is saved as JSON beside Tune's own, and `Tuner.restore` replays it. A trial that Tune
    runs again under a new id (`restart_errored`) isn't told to the controller.

    Example:
        >>> searcher = ControllerSearcher(space, "predictor", metric="ap50", seed=1)
        >>> scheduler = ASHAScheduler(metric="ap50", mode="max", max_t=27)
        >>> config = TuneConfig(search_alg=searcher, scheduler=scheduler, num_samples=100)
        >>> Tuner(train, tune_config=config).fit()
    """

    CKPT_FILE_TMPL = "searcher-state-{}.json"  # Tune's own ends in pkl

    def __init__(
        self,
        space: Space,
        controller: str | ControllerSettings = "predictor",
        *,
        metric: str,
        mode: Literal["max", "min"] = "max",
        seed: int = 0,
    ) -> None:
        """Begins a search.

        Args:
            space: What is searched.
            controller: A name such as "predictor", or its settings.
            metric: The value's name in Tune's results, with "/" between nested ones. It is asked
                for here because Tune passes that of `TuneConfig` on only beside a `param_space`.
            mode: "max" if more of it is better, "min" if less.
            seed: Of the controller's random draws.

        Raises:
            ConfigError: if the mode, the controller or one of its options is unknown.
        """
        if mode not in ("max", "min"):
            raise ConfigError(f"ControllerSearcher: mode is {mode!r}; 'max' or 'min' is needed")
        if isinstance(controller, str):
            controller = ControllerSettings(name=controller)
        super().__init__(metric=metric, mode=mode)
        identity = {"metric": metric, "mode": mode}
        self._suggestions = Suggestions(space, controller, seed, identity)
        self._latest: dict[str, Any] = {}  # the last value of a trial that may go on

    def suggest(self, trial_id: str) -> Any:
        """Returns the config of a new trial; `Searcher.FINISHED` if there is nothing new."""
        candidate = self._suggestions.ask(trial_id)
        if candidate is None:
            return Searcher.FINISHED
        if isinstance(candidate, Mapping):
            return dict(candidate)
        return {"candidate": candidate.to_json() if hasattr(candidate, "to_json") else candidate}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keeps the value: Tune gives no result of a trial that is stopped while it pauses."""
        if self.metric in result:
            self._latest[trial_id] = result[self.metric]

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the controller a trial's end; see the head of this file."""
        value = self._latest.pop(trial_id, None)
        value = (result or {}).get(self.metric, value)
        if trial_id not in self._suggestions.running:  # told already, or under another id
            return
        if error:
            self._suggestions.tell(trial_id, None)
        elif value is None:
            self._suggestions.withdraw(trial_id)
        else:
            self._suggestions.tell(trial_id, float(value) if self.mode == "max" else -float(value))

    def save(self, checkpoint_path: str) -> None:
        """Writes the settings and all events as JSON."""
        self._suggestions.save(Path(checkpoint_path))

    def restore(self, checkpoint_path: str) -> None:
        """Goes on from what was saved, in the place of this searcher's own events.

        Raises:
            RunError: if the file can't be read, or that search began with other settings.
        """
        self._suggestions = self._suggestions.restored(Path(checkpoint_path))
        self._latest.clear()
