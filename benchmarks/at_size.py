"""What `rlspec.batched` costs at the size of real batches, beside torchrl, trl, verl and a copy of what is read.

python benchmarks/at_size.py [--small]
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from timing import Row, absent, in_turns, show

from rlspec import batched

GAMMA, LAMBDA = 0.99, 0.95
SMALL = "--small" in sys.argv[1:]

ROLLOUTS = (1024, 512) if SMALL else (65536, 512)
ANSWERS = (64, 4096) if SMALL else (1024, 32768)
SCORES = 2**16 if SMALL else 2**18
LOGITS = (1, 64, 151936) if SMALL else (2, 256, 151936)


def episodes(shape: tuple[int, int]) -> list[np.ndarray]:
    """Rewards, values, successors' values; terminations, truncations: float32, one step in fifty the last."""
    draw = np.random.default_rng(0)
    numbers = [draw.standard_normal(shape, dtype=np.float32) for _ in range(3)]
    return [*numbers, *(draw.random(shape, dtype=np.float32) < 0.02 for _ in range(2))]


def in_torchrl(tables: list[torch.Tensor], name: str) -> Callable[[], Any]:
    """Its function on its own layout, [B, T, 1]."""
    from torchrl.objectives.value import functional

    function = getattr(functional, name)
    rewards, values, after, ended, stopped = (table[:, :, None] for table in tables)
    return lambda: function(GAMMA, LAMBDA, values, after, rewards, ended | stopped, ended)[0]


def in_verl(rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> Callable[[], Any]:
    """Its loop over the tokens; it normalises the advantages too."""
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return

    return lambda: compute_gae_advantage_return(rewards, values, mask.to(rewards.dtype), GAMMA, LAMBDA)[0]


def in_verl_by_group(rewards: torch.Tensor, groups: torch.Tensor, name: str) -> Callable[[], Any]:
    """Its advantages of answers that have a token each; it finds out by itself how many groups there are."""
    from verl.trainer.ppo import core_algos

    scores, mask = rewards[:, None], torch.ones_like(rewards)[:, None]
    names = groups if "vectorized" in name else groups.numpy()
    return lambda: getattr(core_algos, name)(scores.clone(), mask, names)[0]


def in_trl(logits: torch.Tensor, tokens: torch.Tensor) -> Callable[[], Any]:
    """Its log-probabilities of the tokens that were chosen."""
    from trl.trainer.utils import selective_log_softmax

    return lambda: selective_log_softmax(logits, tokens)


def beside(title: str, ours: dict[str, Callable[[], Any]], rivals: dict[str, Callable[[], Any]]) -> Iterator[Row]:
    """Every route of ours beside every rival, all taking turns."""
    timed = dict(zip([*ours, *rivals], in_turns(*ours.values(), *rivals.values(), rounds=3), strict=True))
    for route in ours:
        for rival in rivals:
            yield f"{title}, {route}", timed[route], rival, timed[rival], ""


def rivals_of(copied: list[torch.Tensor], **made: Callable[[], Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """A copy of what is read and written, and the rivals that are installed."""
    rivals: dict[str, Callable[[], Any]] = {"a copy of what is read and written": lambda: [t.clone() for t in copied]}
    for library, make in made.items():
        try:
            rivals[library] = make()
        except ImportError as error:
            absent(library, error)
    return rivals


def of_rollouts() -> Iterator[Row]:
    """GAE over many rollouts with ends inside."""
    tables = episodes(ROLLOUTS)
    tensors = list(map(torch.from_numpy, tables))
    ours = {
        "NumPy": lambda: batched.gae(*tables, GAMMA, LAMBDA),
        "torch": lambda: batched.gae(*tensors, GAMMA, LAMBDA),
    }
    made = {"torchrl's loop": partial(in_torchrl, tensors, "generalized_advantage_estimate")}
    if SMALL:  # it asks for 28 GB otherwise
        made["torchrl vectorised"] = partial(in_torchrl, tensors, "vec_generalized_advantage_estimate")
    yield from beside(f"GAE {list(ROLLOUTS)}", ours, rivals_of([*tensors, tensors[0]], **made))


def of_answers() -> Iterator[Row]:
    """GAE over the tokens of long answers."""
    rewards, values, *_ = map(torch.from_numpy, episodes(ANSWERS))
    lengths = torch.from_numpy(np.random.default_rng(1).integers(1, ANSWERS[1] + 1, ANSWERS[0]))
    mask = torch.arange(ANSWERS[1]) < lengths[:, None]
    ours = {
        "NumPy": lambda: batched.token_gae(rewards.numpy(), values.numpy(), mask.numpy(), GAMMA, LAMBDA),
        "torch": lambda: batched.token_gae(rewards, values, mask, GAMMA, LAMBDA),
    }
    copied = [rewards, values, mask, rewards]
    yield from beside(
        f"token GAE {list(ANSWERS)}", ours, rivals_of(copied, verl=lambda: in_verl(rewards, values, mask))
    )


def of_groups() -> Iterator[Row]:
    """Advantages in groups of 1 to 31 answers, in no order."""
    draw = np.random.default_rng(2)
    sizes = draw.integers(1, 32, SCORES // 16)
    groups = torch.from_numpy(draw.permutation(np.repeat(np.arange(len(sizes)), sizes)))
    rewards, count = torch.from_numpy(draw.standard_normal(len(groups), dtype=np.float32)), len(sizes)
    ours = {
        "NumPy": lambda: batched.group_advantages(rewards.numpy(), groups.numpy(), count=count),
        "torch": lambda: batched.group_advantages(rewards, groups, count=count),
        "torch, not told how many": lambda: batched.group_advantages(rewards, groups),
    }
    names = "compute_grpo_outcome_advantage", "compute_grpo_vectorized_outcome_advantage"
    rivals = rivals_of(
        [rewards, groups, rewards],
        **{f"verl's {name}": partial(in_verl_by_group, rewards, groups, name) for name in names},
    )
    yield from beside(f"group advantages [{len(groups)}]", ours, rivals)


def of_logits() -> Iterator[Row]:
    """Log-probabilities, entropy and divergence of a large vocabulary, in bfloat16."""
    draw = torch.Generator().manual_seed(0)
    logits, others = (torch.randn(LOGITS, generator=draw).to(torch.bfloat16) for _ in range(2))
    tokens = torch.randint(LOGITS[2], LOGITS[:2], generator=draw)
    rivals = rivals_of([logits], trl=lambda: in_trl(logits, tokens))
    rivals["torch, log_softmax in float32"] = lambda: logits.float().log_softmax(-1).gather(-1, tokens[..., None])
    yield from beside(
        f"log-probabilities {list(LOGITS)}", {"torch": lambda: batched.token_logp(logits, tokens)}, rivals
    )

    def entropy() -> Any:
        logp = logits.float().log_softmax(-1)
        return -(logp.exp() * logp).sum(-1)

    rivals = rivals_of([logits]) | {"torch, log_softmax in float32": entropy}
    yield from beside(f"entropy {list(LOGITS)}", {"torch": lambda: batched.token_entropy(logits)}, rivals)

    def divergence() -> Any:
        logp, ref_logp = logits.float().log_softmax(-1), others.float().log_softmax(-1)
        return (logp.exp() * (logp - ref_logp)).sum(-1)

    rivals = rivals_of([logits, others]) | {"torch, log_softmax in float32": divergence}
    yield from beside(f"KL {list(LOGITS)}", {"torch": lambda: batched.token_kl(logits, others)}, rivals)


def main() -> None:
    """Print the tables."""
    print(f"NumPy on one thread, torch on {torch.get_num_threads()}")
    show(of_rollouts, of_answers, of_groups, of_logits)


if __name__ == "__main__":
    main()
