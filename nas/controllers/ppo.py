"""An autoregressive recurrent policy, trained by proximal policy optimisation.

The controller of SpineNet's search (arXiv 1912.05027, section 3.2) in the line of Zoph and Le
(arXiv 1611.01578): an LSTM walks through the ordered decisions; each step reads the embedding of
the decision before it with the choice taken there, and gives logits over the choices that are
legal. The update is PPO's clipped one (arXiv 1707.06347, equation 7) with a moving average of
rewards as the baseline. SpineNet's paper gives no hyper-parameters: the defaults below were tuned
on synthetic spaces for budgets of 40 to 400 trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from nas.controllers.base import Controller, Stop
from nas.controllers.baseline import Baseline
from nas.settings import Settings
from nas.space import Code, Space


class PPOSettings(Settings):
    """Hyper-parameters, each with its symbol.

    Attributes:
        hidden: width of the LSTM's state h.
        embedding: width of the embedding e of a (decision, choice).
        lr: Adam's step size α.
        clip: half-width ε of the band within which a decision's probability ratio r counts.
        entropy: weight β of the entropy bonus H, against a policy that settles too early.
        decay: factor γ of the moving average b, the baseline, per reward.
        batch: N, results per update.
        epochs: K, passes over a batch per update.
        max_norm: limit on the gradient's norm.
    """

    hidden: PositiveInt = 64
    embedding: PositiveInt = 32
    lr: PositiveFloat = 5e-3
    clip: PositiveFloat = 0.2
    entropy: NonNegativeFloat = 0.05
    decay: float = Field(default=0.9, gt=0.0, lt=1.0)
    batch: PositiveInt = 10
    epochs: PositiveInt = 4
    max_norm: PositiveFloat = 1.0


class Policy(nn.Module):
    """π(code) = Π p(choice at t | choices before t); uniform over what is legal at the start."""

    def __init__(self, sizes: Sequence[int], settings: PPOSettings) -> None:
        """Makes a policy over decisions with `sizes` choices each."""
        super().__init__()
        steps, widest = len(sizes), max(sizes)
        # Row 0 is the start; row 1 + offset_t + a is choice a at decision t.
        self.offsets = torch.tensor([1, *sizes[:-1]]).cumsum(0)
        self.embed = nn.Embedding(1 + sum(sizes), settings.embedding)
        self.lstm = nn.LSTM(settings.embedding, settings.hidden, batch_first=True)
        self.weight = nn.Parameter(torch.zeros(steps, widest, settings.hidden))
        self.bias = nn.Parameter(torch.zeros(steps, widest))

    def forward(self, codes: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the log-probability and the entropy of each decision, two (N, T) tensors.

        Args:
            codes: (N, T) choices.
            masks: (N, T, C), true where a choice is legal.
        """
        tokens = torch.cat([torch.zeros_like(codes[:, :1]), (codes + self.offsets)[:, :-1]], dim=1)
        states, _ = self.lstm(self.embed(tokens))
        logits = torch.einsum("nth,tch->ntc", states, self.weight) + self.bias
        logs = logits.masked_fill(~masks, -torch.inf).log_softmax(-1)
        chosen = logs.gather(-1, codes[..., None])[..., 0]
        finite = logs.masked_fill(~masks, 0.0)
        return chosen, -(finite.exp() * finite * masks).sum(-1)

    def step(
        self, position: int, token: int, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Returns the unmasked logits (C,) of one decision, and the next state, two (1, h)."""
        entry = self.embed.weight[token][None]
        state = torch.lstm_cell(entry, state, *self.lstm.all_weights[0])
        return torch.addmv(self.bias[position], self.weight[position], state[0][0]), state


@dataclass
class Sample:
    """A proposal of the policy's own.

    Attributes:
        masks: (T, C), what was legal.
        before: (T,) log-probabilities under the policy that proposed; set when that changes.
        advantage: set when the result is told, in units of the rewards' spread.
    """

    code: Tensor
    masks: Tensor
    before: Tensor | None = None
    advantage: float = 0.0


class PPO(Controller):
    """Learns from its own proposals, whose results may come late and in any order.

    Results of codes that it didn't propose move the baseline only: drawn from another policy, they
    would bias the gradient.
    """

    settings_type: ClassVar[type[Settings]] = PPOSettings
    repeats: ClassVar[bool] = True
    settings: PPOSettings

    def __init__(self, space: Space, seed: int, settings: PPOSettings | None = None) -> None:
        super().__init__(space, seed, settings)
        self._sizes = [len(decision.choices) for decision in space.decisions]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._policy = Policy(self._sizes, self.settings)
        self._offsets = [int(offset) for offset in self._policy.offsets]
        parameters = self._policy.parameters()
        self._optimizer = torch.optim.Adam(parameters, lr=self.settings.lr, fused=True)
        self._baseline = Baseline(self.settings.decay)
        self._open: dict[int, Sample] = {}
        self._batch: list[Sample] = []

    @torch.inference_mode()
    def propose(self, number: int, draw: int = 0) -> Code:
        """Draws a code from the policy, decision by decision."""
        rng = self.generator(number, draw)
        code: list[int] = []
        token = 0
        state = (torch.zeros(1, self.settings.hidden), torch.zeros(1, self.settings.hidden))
        for position, offset in enumerate(self._offsets):
            logits, state = self._policy.step(position, token, state)
            legal = [index for index, is_legal in enumerate(self.space.legal(code)) if is_legal]
            scores = logits.tolist()
            peak = max(scores[index] for index in legal)
            choice = rng.choices(legal, [math.exp(scores[index] - peak) for index in legal])[0]
            code.append(choice)
            token = offset + choice
        return tuple(code)

    def asked(self, number: int, code: Code) -> None:
        """Keeps a proposal, and what was legal at each of its decisions, for its result."""
        widest = max(self._sizes)
        rows = (bytes(self.space.legal(code[:t])).ljust(widest, b"\0") for t in range(len(code)))
        masks = torch.frombuffer(bytearray().join(rows), dtype=torch.bool).view(-1, widest)
        self._open[number] = Sample(torch.tensor(code), masks)

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Learns from the result of an own proposal."""
        self._learn(number, self._baseline.advantage(reward, excess))

    def stop(self, number: int | None, stop: Stop) -> None:
        """Learns from the rank of an own proposal that was stopped."""
        if number is not None:
            self._learn(number, self._baseline.of_rank(stop.rank))

    def _learn(self, number: int, advantage: float) -> None:
        """Adds a sample to the batch, and updates the policy by a full one."""
        sample = self._open.pop(number)
        sample.advantage = advantage
        self._batch.append(sample)
        if len(self._batch) >= self.settings.batch:
            self._update()

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Moves the baseline by another's result."""
        if reward is not None:
            self._baseline.advantage(reward)

    def withdraw(self, number: int, code: Code) -> None:
        """Forgets a proposal that has no result."""
        del self._open[number]

    def _update(self) -> None:
        """Changes the policy by K passes over the N samples that were told."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the same bits whatever the driver's other work
        try:
            self._remember()
            batch, self._batch = self._batch, []
            codes = torch.stack([sample.code for sample in batch])
            masks = torch.stack([sample.masks for sample in batch])
            before = torch.stack([s.before for s in batch if s.before is not None])
            advantages = torch.tensor([sample.advantage for sample in batch])[:, None]
            # A decision with one legal choice has nothing to learn.
            free = (masks.sum(-1) > 1).float()
            for _ in range(self.settings.epochs):
                self._descend(codes, masks, before, advantages, free)
        finally:
            torch.set_num_threads(threads)

    @torch.no_grad()
    def _remember(self) -> None:
        """Keeps what the policy says of its proposals, before it changes."""
        new = [s for s in (*self._batch, *self._open.values()) if s.before is None]
        if new:
            chosen, _ = self._policy(
                torch.stack([sample.code for sample in new]),
                torch.stack([sample.masks for sample in new]),
            )
            for sample, before in zip(new, chosen, strict=True):
                sample.before = before

    def _descend(
        self, codes: Tensor, masks: Tensor, before: Tensor, advantages: Tensor, free: Tensor
    ) -> None:
        """Takes one step down -E[min(r A, clip(r, 1-ε, 1+ε) A)] - β H."""
        chosen, entropy = self._policy(codes, masks)
        ratio = (chosen - before).exp()
        clipped = ratio.clamp(1 - self.settings.clip, 1 + self.settings.clip)
        gain = torch.minimum(ratio * advantages, clipped * advantages)
        loss = -((gain + self.settings.entropy * entropy) * free).sum() / free.sum().clamp(min=1)
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._policy.parameters(), self.settings.max_norm)
        self._optimizer.step()
