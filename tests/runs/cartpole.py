"""PPO on CartPole in one file, as CleanRL has it: a few environments, a small network, episodes that time out."""

import gymnasium
import numpy as np
import torch
from torch import nn

import rlspec

ENVIRONMENTS, STEPS, UPDATES, TIME_LIMIT = 4, 48, 3, 20
GAMMA, LAM, CLIP = 0.99, 0.95, 0.2


def train(*defects):
    """Some updates.

    The defects are ``truncation-as-termination``, ``clip-without-minimum`` and ``unweighted-accumulation``.
    """
    torch.manual_seed(0)
    environments = [gymnasium.make("CartPole-v1", max_episode_steps=TIME_LIMIT) for _ in range(ENVIRONMENTS)]
    observations = np.array([env.reset(seed=seed)[0] for seed, env in enumerate(environments)], dtype=np.float32)
    actor, critic = (nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, outputs)) for outputs in (2, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-2)
    for _ in range(UPDATES):
        batch = {name: [] for name in ("observations", "actions", "logp", "rewards", "values", "next_values",
                                       "terminated", "truncated")}  # fmt: skip
        for _ in range(STEPS):
            step, observations = interact(environments, observations, actor, critic)
            for name, value in step.items():
                batch[name].append(value)
        batch = {name: torch.stack(parts) for name, parts in batch.items()}
        advantages = estimate(batch, defects)
        update(batch, advantages, actor, critic, optimizer, defects)


@torch.no_grad()
def interact(environments, observations, actor, critic):
    """One step in every environment, and where it led."""
    seen = torch.from_numpy(observations)
    policy = torch.distributions.Categorical(logits=actor(seen))
    actions = policy.sample()
    results = [env.step(int(action)) for env, action in zip(environments, actions, strict=True)]
    following, rewards, terminated, truncated, _ = (list(part) for part in zip(*results, strict=True))
    next_values = critic(torch.from_numpy(np.array(following, dtype=np.float32))).squeeze(-1)
    for place, env in enumerate(environments):
        if terminated[place] or truncated[place]:
            following[place] = env.reset()[0]
    step = {
        "observations": seen, "actions": actions, "logp": policy.log_prob(actions), "values": critic(seen).squeeze(-1),
        "rewards": torch.tensor(rewards, dtype=torch.float32), "next_values": next_values,
        "terminated": torch.tensor(terminated), "truncated": torch.tensor(truncated),
    }  # fmt: skip
    return step, np.array(following, dtype=np.float32)


def estimate(batch, defects):
    """Advantages [T, B] by GAE."""
    ended = batch["terminated"] | batch["truncated"]
    stopped = ended if "truncation-as-termination" in defects else batch["terminated"]
    advantages, carry = torch.zeros_like(batch["values"]), 0.0
    for t in reversed(range(STEPS)):
        delta = batch["rewards"][t] + GAMMA * batch["next_values"][t] * ~stopped[t] - batch["values"][t]
        carry = delta + GAMMA * LAM * carry * ~ended[t]
        advantages[t] = carry
    known = {name: batch[name] for name in ("rewards", "values", "next_values", "terminated", "truncated")}
    rlspec.observe("gae", axes="T B", **known, gamma=GAMMA, lam=LAM, result=advantages)
    return advantages


def update(batch, advantages, actor, critic, optimizer, defects):
    """Four passes over the batch."""
    returns = advantages + batch["values"]
    for _ in range(4):
        logp = torch.distributions.Categorical(logits=actor(batch["observations"])).log_prob(batch["actions"])
        ratio = (logp - batch["logp"]).exp()
        limited = ratio.clamp(1 - CLIP, 1 + CLIP) * advantages
        kept = limited if "clip-without-minimum" in defects else torch.min(ratio * advantages, limited)
        loss = -kept.mean()
        rlspec.observe("ppo_loss", axes="T B", logp=logp, old_logp=batch["logp"], advantages=advantages,
                       clip_low=CLIP, clip_high=CLIP, result=loss)  # fmt: skip
        values = critic(batch["observations"]).squeeze(-1)
        errors = 0.5 * (values - returns) ** 2
        value_loss = errors.mean()
        if "unweighted-accumulation" in defects:  # two micro-batches of different sizes, averaged as if they were equal
            value_loss = (errors[:7].mean() + errors[7:].mean()) / 2
        rlspec.observe("value_loss", axes="T B", values=values, old_values=batch["values"], returns=returns,
                       result=value_loss)  # fmt: skip
        optimizer.zero_grad()
        (loss + value_loss).backward()
        optimizer.step()
