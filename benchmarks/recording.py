"""What recording costs a training step.

    python benchmarks/recording.py

A call of ``rlspec.observe`` beside a whole training step, on the processor: a PPO step of a small network, and a GRPO
step of a small transformer.  What is recorded of a step does not grow with the network, so that steps of larger ones
have smaller ratios.  Where a step is so short that a call is more than 1 % of it, recording rests until it has taken no
more than 1 % of the run's time: the last row of each learner, a run of some seconds without the first one's grace.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from timing import Row, in_turns, show
from torch import Tensor, nn

import rlspec
from rlspec import recording

EVERY = 100
"""One call in so many is kept."""

RUN = 10.0
"""Seconds of a run."""


class Ppo:
    """A small network and a batch of 2048 samples."""

    name = "PPO, 2048 samples, 64-128-8 network"

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 8))
        self.seen, self.actions = torch.randn(2048, 64), torch.randint(0, 8, (2048,))
        self.advantages = torch.randn(2048)
        self.old_logp = self.logp().detach()

    def logp(self) -> Tensor:
        """log pi of the actions taken."""
        return torch.distributions.Categorical(logits=self.network(self.seen)).log_prob(self.actions)

    def loss(self, logp: Tensor) -> Tensor:
        """The clipped loss."""
        ratio = (logp - self.old_logp).exp()
        return -torch.min(ratio * self.advantages, ratio.clamp(0.8, 1.2) * self.advantages).mean()

    def observe(self, logp: Tensor, loss: Tensor) -> None:
        """The line in the trainer."""
        rlspec.observe("ppo_loss", logp=logp, old_logp=self.old_logp, advantages=self.advantages, clip_low=0.2,
                       clip_high=0.2, result=loss)  # fmt: skip


class Grpo:
    """A transformer of four layers, and 16 answers of 256 tokens."""

    name = "GRPO, 16 x 256 tokens, 4 layers of 256"

    def __init__(self) -> None:
        layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, dropout=0.0)
        self.network = nn.Sequential(nn.Embedding(4096, 256), nn.TransformerEncoder(layer, 4), nn.Linear(256, 4096))
        self.tokens = torch.randint(0, 4096, (16, 256))
        self.mask = torch.arange(256) < torch.randint(64, 257, (16, 1))
        self.advantages, self.groups = torch.randn(16), torch.arange(16) // 4
        self.old_logp = self.logp().detach()

    def logp(self) -> Tensor:
        """log pi of the tokens."""
        return self.network(self.tokens).log_softmax(-1).gather(-1, self.tokens[..., None])[..., 0]

    def loss(self, logp: Tensor) -> Tensor:
        """The mean of means, without a KL term."""
        ratio, advantages = (logp - self.old_logp).exp(), self.advantages[:, None]
        kept = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        return -((kept * self.mask).sum(1) / self.mask.sum(1)).mean()

    def observe(self, logp: Tensor, loss: Tensor) -> None:
        """The line in the trainer."""
        rlspec.observe("grpo_loss", logp=logp, old_logp=self.old_logp, ref_logp=self.old_logp,
                       advantages=self.advantages, groups=self.groups, mask=self.mask, clip_low=0.2, clip_high=0.2,
                       kl_coef=0.0, result=loss)  # fmt: skip


def stepping(learner: Any) -> Callable[[], None]:
    """A whole step of training."""
    optimizer = torch.optim.Adam(learner.network.parameters(), lr=1e-4)

    def step() -> None:
        loss = learner.loss(learner.logp())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def observing(learner: Any) -> float:
    """Seconds that a call of observe takes now."""
    logp = learner.logp().detach().requires_grad_()
    loss = learner.loss(logp)
    [seconds] = in_turns(lambda: learner.observe(logp, loss), rounds=5)
    return seconds


def rows() -> Iterator[Row]:
    """What observe takes, without a recording, of calls that are not kept and that are, beside a step."""
    torch.manual_seed(0)
    for learner in (Ppo(), Grpo()):
        [step] = in_turns(stepping(learner), rounds=5)
        took = {"nothing is recorded": observing(learner)}
        for what, every in (("not kept", 10**9), ("kept", 1)):
            with tempfile.TemporaryDirectory() as folder:
                rlspec.record_to(Path(folder) / "run.safetensors", every=every, megabytes=10**6)
                recording.SHARE = 1.0  # no rest: each call is to be timed
                took[what] = observing(learner)
                rlspec.stop_recording()
        took[f"one kept in {EVERY}"] = ((EVERY - 1) * took["not kept"] + took["kept"]) / EVERY
        for what, seconds in took.items():
            yield f"observe, {what}", seconds, f"a step of {learner.name}", step, ""
        spent, elapsed = in_a_run(learner)
        yield f"observe in a run, one kept in {EVERY}", spent, f"the run of {learner.name}", elapsed, ""


def in_a_run(learner: Any) -> tuple[float, float]:
    """Seconds that recording takes of a run, and the run's."""
    step, logp = stepping(learner), learner.logp().detach().requires_grad_()
    loss = learner.loss(logp)
    recording.SHARE, recording.GRACE = 0.01, 0.0
    with tempfile.TemporaryDirectory() as folder:
        rlspec.record_to(Path(folder) / "run.safetensors", every=EVERY)
        begun, spent = time.perf_counter(), 0.0
        while time.perf_counter() - begun < RUN:
            step()
            before = time.perf_counter()
            learner.observe(logp, loss)
            spent += time.perf_counter() - before
        elapsed = time.perf_counter() - begun
        rlspec.stop_recording()
    return spent, elapsed


if __name__ == "__main__":
    show(rows)
