"""What Gymnasium's environments return while they reset themselves, and what is made of it (spec/replay.md)."""

import numpy as np
import pytest

from rlspec.candidates import reference, torch_autograd
from rlspec.faults import FAULTS, museum

gymnasium = pytest.importorskip("gymnasium")
vector = pytest.importorskip("gymnasium.vector")

MODES = {"same step": "SAME_STEP", "next step": "NEXT_STEP"}
LENGTHS = ((3, 1, 2), (1, 1, 4))
"""Of the episodes of two environments; every other one ends by time."""


class Counting(gymnasium.Env):
    """Its observations are 0, 1, 2, ... over all episodes, so that each is known by its number."""

    observation_space = gymnasium.spaces.Box(0.0, 1000.0, shape=(), dtype=np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, lengths):
        self.lengths, self.episode, self.seen = lengths, -1, -1.0

    def reset(self, *, seed=None, options=None):
        """Begin the next episode."""
        super().reset(seed=seed)
        self.episode, self.left = self.episode + 1, self.lengths[(self.episode + 1) % len(self.lengths)]
        return self._next(), {}

    def step(self, action):
        """Go on by one, or end."""
        self.left -= 1
        over, by_time = self.left == 0, bool(self.episode % 2)
        return self._next(), 1.0, over and not by_time, over and by_time, {}

    def _next(self):
        self.seen += 1.0
        return np.array(self.seen)


def steps_one_by_one(lengths):
    """What each step began with, what it led to and how it ended, in an environment that is reset by hand."""
    env, found = Counting(lengths), []
    for _ in lengths:
        before, ended = env.reset()[0], False
        while not ended:
            after, _, over, stopped, _ = env.step(0)
            found.append((float(before), float(after), over, stopped))
            before, ended = after, over or stopped
    return found


def collected(mode, steps):
    """What two environments side by side returned: observations before and after each step, last ones, and ends."""
    makers = [lambda lengths=lengths: Counting(lengths) for lengths in LENGTHS]
    envs = vector.SyncVectorEnv(makers, autoreset_mode=vector.AutoresetMode[MODES[mode]])
    before, columns = envs.reset()[0], []
    for _ in range(steps):
        after, _, over, stopped, info = envs.step(np.zeros(len(LENGTHS), dtype=int))
        final = [float(x) if told else -1.0 for x, told in zip(*last_observations(info), strict=True)]
        columns.append((before.copy(), after.copy(), np.array(final), over, stopped))
        before = after
    return [np.stack(arrays, axis=1) for arrays in zip(*columns, strict=True)]


def last_observations(info):
    """The last observations that are told beside, and of which environments."""
    none = np.zeros(len(LENGTHS))
    return info.get("final_obs", none), info.get("_final_obs", none.astype(bool))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("candidate", [reference, torch_autograd], ids=lambda module: module.NAME.split()[0])
def test_transitions_of_environments_that_reset_themselves_are_those_of_one_that_is_reset_by_hand(candidate, mode):
    before, after, final, over, stopped = collected(mode, 12)
    following, valid = candidate.autoreset_transitions(after, final, over, stopped, mode)
    for row, lengths in enumerate(LENGTHS):
        known = steps_one_by_one(lengths)
        arrays = (before, following, over, stopped)
        found = [tuple(array[row, t] for array in arrays) for t in np.flatnonzero(valid[row])]
        assert found[: len(known)] == known


@pytest.mark.parametrize(
    ("slug", "mode"), [("successor-after-the-reset", "same step"), ("step-that-resets-stored", "next step")]
)
def test_what_goes_wrong_with_gymnasium_is_what_the_museum_has(slug, mode):
    museum()
    [wrong] = [fault.implementation for fault in FAULTS.values() if fault.slug == slug]
    _, after, final, over, stopped = collected(mode, 12)
    right = reference.autoreset_transitions(after, final, over, stopped, mode)
    assert any(not np.array_equal(*pair) for pair in zip(wrong(after, final, over, stopped, mode), right, strict=True))
