"""The settings of a study: its arms, re-evaluation, early stopping, delivery and giving up."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from nas.settings import Settings
from nas.study.stopping import StopperSettings


class ControlSettings(Settings):
    """Settings of the control arm: uniform draws inside the same search.

    Below a share of 0.5 their results are told to the controller too. From 0.5 on they are an arm
    of its own: nothing crosses over, and a candidate that the other arm has scored already costs
    budget here as it would alone.
    """

    share: float = Field(default=0.2, ge=0.0, le=1.0)

    @property
    def is_full_arm(self) -> bool:
        """Whether nothing crosses over between the arms."""
        return self.share >= 0.5

    @property
    def arms(self) -> int:
        """How many arms get trials."""
        return 2 if 0.0 < self.share < 1.0 else 1


class FinalistSettings(Settings):
    """Settings of the re-evaluation of the best: fresh seeds, and perhaps a longer proxy.

    Attributes:
        count: how many distinct candidates per arm.
        length: factor on the proxy's epochs, for evaluators that accept it.
        repeats: fresh seeds per candidate.
    """

    count: PositiveInt = 3
    length: PositiveInt = 3
    repeats: PositiveInt = 3


class DeliverySettings(Settings):
    """A config's section `study`: when results reach the controller, retries, and giving up.

    Attributes:
        max_zeros: the share of trials whose metric is exactly 0 above which the run stops; 1 never
            stops it.
        delivery: "completion" delivers results as they come. "proposal" asks for proposal
            n + window after exactly the results 0...n, so that a run is equal whatever the timing.
        window: proposals under way at once with delivery "proposal".
        backoff: seconds before each retry of a trial whose worker was lost.
    """

    max_zeros: float = Field(default=1.0, ge=0.0, le=1.0)
    delivery: Literal["completion", "proposal"] = "completion"
    window: PositiveInt = 1
    backoff: tuple[float, ...] = (1.0, 4.0, 16.0)


class StudySettings(DeliverySettings):
    """All settings of a study, beside those of its space, its controller and its objective.

    Attributes:
        control: the arm of uniform draws.
        finalists: the re-evaluation that follows the search; None leaves it out.
        stopping: stops trials between their reports; None runs them all in full.
        retrain_share: of a budget in time, what stays for retraining.

    Example:
        >>> StudySettings(control=ControlSettings(share=0.5), delivery="proposal", window=4).window
        4
    """

    control: ControlSettings = ControlSettings()
    finalists: FinalistSettings | None = None
    stopping: StopperSettings | None = None
    retrain_share: float = 0.0


NO_CONTROL = StudySettings(control=ControlSettings(share=0.0))
"""A study without a control arm: every trial is the controller's."""
