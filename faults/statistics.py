"""How statistics go wrong."""

import numpy as np

from rlspec.faults import fault, right


def _merged(mean, variance, count, batch):
    """The right update, to be changed in one place."""
    middle, spread, rows = batch.mean(axis=0), batch.var(axis=0), len(batch)
    total, apart = count + rows, middle - mean
    return middle, spread, rows, total, apart


@fault(
    id="ST01",
    slug="count-added-to-the-mean",
    clause="STAT-1",
    seen=("RLE-Foundation/rllte#47", "pokaxpoka/B_Pref#3"),
    effect="The share of the batch is added to the mean, and not multiplied: the mean is the last batch's, and more.",
)
def running_moments(mean, variance, count, batch):
    _, found, total = right.running_moments(mean, variance, count, batch)
    return batch.mean(axis=0) + len(batch) / total, found, total


@fault(
    id="ST02",
    slug="batch-counted-once",
    clause="STAT-1",
    seen=("vwxyzjn/cleanrl#18",),
    effect="A batch counts like a single number, however many rows it has.",
)
def running_moments(mean, variance, count, batch):
    _, spread, _, _, apart = _merged(mean, variance, count, batch)
    total = count + 1
    second = variance * count + spread + apart**2 * count / total
    return mean + apart / total, second / total, total


@fault(
    id="ST03",
    slug="variance-of-the-last-batch",
    clause="STAT-1",
    seen=("akanazawa/fpo#13",),
    effect="What was seen before is dropped from the sum of squares: the deviation shrinks with every batch.",
)
def running_moments(mean, variance, count, batch):
    middle, _, total = right.running_moments(mean, variance, count, batch)
    return middle, ((batch - mean) * (batch - middle)).sum(axis=0) / total, total


@fault(
    id="ST04",
    slug="distance-from-the-new-mean",
    clause="STAT-1",
    seen=("younggyoseo/FastTD3#32",),
    effect="The distance of the means is taken after the mean was moved: the variance comes out too small.",
)
def running_moments(mean, variance, count, batch):
    middle, spread, rows, total, apart = _merged(mean, variance, count, batch)
    moved = mean + apart * rows / total
    second = variance * count + spread * rows + (middle - moved) ** 2 * count * rows / total
    return moved, second / total, total


@fault(
    id="ST08",
    slug="variance-of-one-row",
    clause="OPS-1",
    seen=("pokaxpoka/B_Pref#3",),
    effect="A batch's variance is over one row less, and that of one row is 0 / 0: all later moments are NaN.",
)
def running_moments(mean, variance, count, batch):
    _, spread, rows, total, apart = _merged(mean, variance, count, batch)
    own = spread * rows / (rows - 1) if rows > 1 else np.full_like(spread, np.nan)
    second = variance * count + own * rows + apart**2 * count * rows / total
    return mean + apart * rows / total, second / total, total


@fault(
    id="M-STAT-1",
    slug="distance-of-the-means-dropped",
    clause="STAT-2",
    effect="Variances are averaged, and how far the batches' means are apart is left out: it depends on the split.",
)
def running_moments(mean, variance, count, batch):
    _, spread, rows, total, apart = _merged(mean, variance, count, batch)
    return mean + apart * rows / total, (variance * count + spread * rows) / total, total


@fault(
    id="M-STAT-2",
    slug="square-less-square",
    clause="STAT-3",
    effect="The mean of the squares less the square of the mean: where the mean is large no digit is left.",
)
def running_moments(mean, variance, count, batch):
    total = count + len(batch)
    first = (count * mean + batch.sum(axis=0)) / total
    second = (count * (variance + mean**2) + (batch**2).sum(axis=0)) / total
    return first, second - first**2, total


@fault(
    id="ST05",
    slug="mean-divided-alone",
    clause="STAT-4",
    seen=("openai/baselines#802", "andrewliao11/gail-tf#8"),
    effect="Parentheses are missing: the mean is divided, and the observation is not.",
)
def normalize_observations(observations, mean, variance, eps, clip):
    return np.clip(observations - mean / np.sqrt(variance + eps), -clip, clip)


@fault(
    id="M-STAT-3",
    slug="observations-over-their-variance",
    clause="STAT-4",
    effect="The variance stands for the standard deviation.",
)
def normalize_observations(observations, mean, variance, eps, clip):
    return right.normalize_observations(observations, mean, variance**2, eps, clip)


@fault(
    id="M-STAT-4",
    slug="deviation-of-the-rewards",
    clause="STAT-6",
    effect="The deviation is that of the rewards, and not of their returns: values are as large as episodes are long.",
)
def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    return right.scaled_rewards(rewards, terminated, truncated, 0.0, mean, variance, count, eps, clip)


@fault(
    id="M-STAT-5",
    slug="mean-taken-from-the-rewards",
    clause="STAT-6",
    effect="The mean of the returns is subtracted from the reward: longer episodes are paid for, or punished.",
)
def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    level = float(np.mean(rewards))
    plain = right.scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, np.inf)
    by = np.divide(plain, rewards, out=np.ones_like(plain), where=rewards != 0)
    return np.clip((rewards - level) * by, -clip, clip)


def _one_step_early(flags):
    """Ends as if each of them belonged to the step before."""
    early = np.roll(flags, -1, axis=1)
    early[:, -1] = False
    return early


@fault(
    id="ST06",
    slug="return-forgotten-at-the-last-step",
    clause="STAT-7",
    seen=("openai/gym#3152", "Farama-Foundation/Gymnasium#1507"),
    effect="At a termination the return is set to 0 before the reward is added, and then goes on across the reset.",
)
def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    early = _one_step_early(terminated)
    return right.scaled_rewards(rewards, early, 0 * truncated, gamma, mean, variance, count, eps, clip)


@fault(
    id="M-STAT-12",
    slug="last-reward-for-the-last-return",
    clause="STAT-7",
    effect="At a termination the return is the last reward alone: what led to the end is forgotten there.",
)
def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    early = _one_step_early(terminated)
    over = np.logical_or(terminated, early)
    return right.scaled_rewards(rewards, over, truncated, gamma, mean, variance, count, eps, clip)


@fault(
    id="ST07",
    slug="return-across-time-limits",
    clause="STAT-7",
    seen=("Farama-Foundation/Gymnasium#760",),
    effect="The return goes on across time limits: the deviation is that of a task that never ends.",
)
def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    return right.scaled_rewards(rewards, terminated, 0 * truncated, gamma, mean, variance, count, eps, clip)


@fault(
    id="M-STAT-6",
    slug="bias-not-rescaled",
    clause="STAT-9",
    effect="The bias is moved by the means and not rescaled: outputs jump whenever the deviation changes.",
)
def popart(weights, bias, old_mean, old_std, new_mean, new_std):
    changed, _ = right.popart(weights, bias, old_mean, old_std, new_mean, new_std)
    return changed, bias + (old_mean - new_mean) / new_std


@fault(
    id="M-STAT-7",
    slug="weights-scaled-the-other-way",
    clause="STAT-8",
    effect="The weights are multiplied by the new deviation over the old one: outputs change with its square.",
)
def popart(weights, bias, old_mean, old_std, new_mean, new_std):
    _, level = right.popart(weights, bias, old_mean, old_std, new_mean, new_std)
    return weights * new_std / old_std, level


@fault(
    id="M-STAT-8",
    slug="logarithm-of-one-and-the-number",
    clause="STAT-10",
    effect="The size is taken for the number: what is negative is squashed as if it were positive.",
)
def symlog(values):
    return right.symlog(np.abs(values))


@fault(
    id="M-STAT-9",
    slug="exponential-without-its-one",
    clause="STAT-11",
    effect="The 1 is not subtracted: 0 comes back as itself, and everything else too large by 1.",
)
def symexp(values):
    return np.sign(values) * np.exp(np.abs(values))


@fault(
    id="M-STAT-10",
    slug="shares-swapped",
    clause="STAT-13",
    effect="Each bin has the distance to itself, and not to the other: the mean is mirrored between them.",
)
def two_hot(values, bins):
    inside = np.clip(values, bins[0], bins[-1])
    below = np.clip(np.searchsorted(bins, inside, side="right") - 1, 0, len(bins) - 2)
    mirrored = bins[below] + bins[below + 1] - inside
    return right.two_hot(mirrored, bins)


@fault(
    id="M-STAT-13",
    slug="gap-kept-from-zero",
    clause="STAT-12",
    effect="A hundredth is added to the gap that is divided by: every mean is off towards the upper bin.",
)
def two_hot(values, bins):
    inside = np.clip(values, bins[0], bins[-1])
    above = np.clip(np.searchsorted(bins, inside), 1, len(bins) - 1)
    lower = (bins[above] - inside) / (bins[above] - bins[above - 1] + 0.01)
    at_a_bin = bins[above] == inside
    lower = np.where((above == 1) & (inside == bins[0]), 1, np.where(at_a_bin, 0, lower))
    eye = np.eye(len(bins))
    return eye[above - 1] * lower[:, None] + eye[above] * (1 - lower)[:, None]


@fault(
    id="M-STAT-11",
    slug="nearest-bin-alone",
    clause="STAT-12",
    effect="All of the mass is put on the nearest bin.",
)
def two_hot(values, bins):
    nearest = np.abs(values[:, None] - bins[None, :]).argmin(axis=1)
    return np.eye(len(bins))[nearest]


@fault(
    id="M-STAT-14",
    slug="shares-of-old-and-new-exchanged",
    clause="STAT-15",
    effect="The old moments have the share that the batch should have: they forget all but the last batch.",
)
def fading_moments(mean, square, weight, batch, beta):
    return right.fading_moments(mean, square, weight, batch, 1 - beta)


@fault(
    id="M-STAT-15",
    slug="weight-of-one-from-the-beginning",
    clause="STAT-16",
    effect="The weight is 1 from the beginning: means are too small until the beginning is forgotten.",
)
def fading_moments(mean, square, weight, batch, beta):
    first, second, _ = right.fading_moments(mean, square, weight, batch, beta)
    return first, second, 1.0
