"""What recording costs a training step.

    python benchmarks/recording.py

A step of PPO with a small network, on the processor, without and with ``rlspec.observe``.  Both take turns; the ratio
is what to compare between machines.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from timing import Row, in_turns, show
from torch import Tensor, nn

import rlspec

STEPS = 100
"""Steps in a turn, one call in so many being kept."""

SAMPLES, INPUTS, WIDTH, ACTIONS = 2048, 64, 128, 8


class Learner:
    """A network, a batch, and steps that follow the clipped loss."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.Tanh(), nn.Linear(WIDTH, ACTIONS))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        self.seen, self.actions = torch.randn(SAMPLES, INPUTS), torch.randint(0, ACTIONS, (SAMPLES,))
        self.advantages = torch.randn(SAMPLES)
        self.old_logp = self.logp().detach()

    def logp(self) -> Tensor:
        """log pi of the actions taken."""
        return torch.distributions.Categorical(logits=self.network(self.seen)).log_prob(self.actions)

    def step(self, observed: bool) -> None:
        """One step; observed: whether the loss is told to rlspec."""
        logp = self.logp()
        ratio = (logp - self.old_logp).exp()
        loss = -torch.min(ratio * self.advantages, ratio.clamp(0.8, 1.2) * self.advantages).mean()
        if observed:
            rlspec.observe("ppo_loss", logp=logp, old_logp=self.old_logp, advantages=self.advantages,
                           clip_low=0.2, clip_high=0.2, result=loss)  # fmt: skip
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def rows() -> Iterator[Row]:
    """Steps that are observed beside steps that are not, before and after it was said where to record to."""
    learner = Learner()

    def turn(observed: bool) -> None:
        for _ in range(STEPS):
            learner.step(observed)

    quiet, plain = in_turns(lambda: turn(True), lambda: turn(False))
    yield f"{STEPS} steps with observe, recording nothing", quiet, "the same without", plain, ""
    with tempfile.TemporaryDirectory() as folder:
        rlspec.record_to(Path(folder) / "run.safetensors", every=STEPS)
        recording, plain = in_turns(lambda: turn(True), lambda: turn(False))
        rlspec.stop_recording()
    yield f"{STEPS} steps with observe, one of them recorded", recording, "the same without", plain, ""


if __name__ == "__main__":
    show(rows)
