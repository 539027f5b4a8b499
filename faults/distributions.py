"""How entropy and Gaussian policies go wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._softmax import softmax


def _surprise(logits, legal):
    """Probabilities [B, A] of the legal actions, their logarithms (0 where there is none), and the entropies [B, 1]."""
    logits = np.where(legal, logits, -np.inf)
    policy = softmax(logits)
    logarithms = np.log(policy, where=policy > 0, out=np.zeros(policy.shape))
    return policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True)


def _with_derivative(policy, logarithms, value):
    return value[:, 0], -policy * (logarithms + value)


@fault(
    id="D20",
    slug="zero-times-log-of-zero",
    clause="OPS-10",
    seen=("JuliaReinforcementLearning/ReinforcementLearning.jl#917", "NovaSky-AI/SkyRL#2259"),
    effect="Illegal actions have the probability 0 and its logarithm, and the entropy is their product: not a number.",
)
def entropy(logits, legal):
    with np.errstate(divide="ignore", invalid="ignore"):
        policy = softmax(np.where(legal, logits, -np.inf))
        logarithms = np.log(policy)
        return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


@fault(
    id="M-PG-20",
    slug="illegal-actions-in-the-entropy",
    clause="OPS-10",
    effect="The mask of legal actions is not applied: the bonus rewards leaning towards what cannot be done.",
)
def entropy(logits, legal):
    return right.entropy(logits, np.ones_like(legal))


@fault(
    id="M-PG-21",
    slug="illegal-logits-set-to-zero",
    clause="OPS-10",
    effect="Logits are multiplied by the mask; but a logit of 0 is one among others, and no impossibility.",
)
def entropy(logits, legal):
    return right.entropy(np.where(legal, logits, 0), np.ones_like(legal))


@fault(
    id="M-PG-22",
    slug="entropy-in-bits",
    clause="DIST-1",
    effect="The logarithm is that to the base 2, and the coefficient of the bonus means something else.",
)
def entropy(logits, legal):
    value, slopes = right.entropy(logits, legal)
    return value / np.log(2), slopes / np.log(2)


@fault(
    id="M-PG-23",
    slug="entropy-averaged-over-actions",
    clause="DIST-1",
    effect="The sum over the actions is taken as a mean: the bonus shrinks with their number.",
)
def entropy(logits, legal):
    value, slopes = right.entropy(logits, legal)
    return value / logits.shape[1], slopes / logits.shape[1]


@fault(
    id="M-PG-24",
    slug="logits-clipped-in-the-entropy",
    clause="DIST-1",
    effect="Logits are clipped to a range before the softmax, so that a shift changes the entropy.",
)
def entropy(logits, legal):
    return right.entropy(np.clip(logits, -3, 3), legal)


@fault(
    id="M-PG-25",
    slug="derivative-in-probabilities",
    clause="DIST-2",
    effect="Each term is differentiated by its own probability, and the normalisation is left out.",
)
def entropy(logits, legal):
    policy, logarithms, value = _surprise(logits, legal)
    return value[:, 0], -policy * (logarithms + 1)


@fault(
    id="M-PG-26",
    slug="derivative-of-the-negative-entropy",
    clause="DIST-2",
    effect="The derivative is that of a loss: what should keep the policy open closes it.",
)
def entropy(logits, legal):
    value, slopes = right.entropy(logits, legal)
    return value, -slopes


@fault(
    id="M-PG-27",
    slug="naive-softmax-in-the-entropy",
    clause="DIST-3",
    effect="Logits are exponentiated as they are: infinity over infinity for large ones.",
)
def entropy(logits, legal):
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        weights = np.where(legal, np.exp(logits), 0)
        policy = weights / weights.sum(axis=1, keepdims=True)
        logarithms = np.log(np.where(policy == 0, 1, policy))
        return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


@fault(
    id="M-PG-28",
    slug="probabilities-clipped-in-the-entropy",
    clause="DIST-3",
    effect="Probabilities are kept above 1e-6 lest the logarithm fail: the impossible gets a share of the entropy.",
)
def entropy(logits, legal):
    policy = np.where(legal, np.maximum(_surprise(logits, legal)[0], 1e-6), 0)
    logarithms = np.log(np.where(legal, policy, 1))
    return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


@fault(
    id="M-PG-29",
    slug="illegal-logits-masked-by-multiplication",
    clause="OPS-11",
    effect="The logits of illegal actions are multiplied by 0, which not a number and infinity survive.",
)
def entropy(logits, legal):
    with np.errstate(invalid="ignore"):
        shifted = logits * legal - 1e9 * ~np.asarray(legal, dtype=bool)
        weights = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        policy = weights / weights.sum(axis=1, keepdims=True)
        logarithms = np.log(policy, where=policy > 0, out=np.zeros(policy.shape))
        return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


@fault(
    id="M-DIST-1",
    slug="entropy-as-a-difference-of-large-numbers",
    clause="DIST-5",
    effect="Probabilities are exponentials of differences of large logits, and are multiplied with these once more.",
)
def entropy(logits, legal):
    rivals = np.where(legal, logits, -np.inf)
    largest = rivals.max(axis=1, keepdims=True)
    total = largest + np.log(np.exp(rivals - largest).sum(axis=1, keepdims=True))
    policy = np.exp(rivals - total)
    value = total - (policy * np.where(policy > 0, rivals, 0)).sum(axis=1, keepdims=True)
    return _with_derivative(policy, np.where(policy > 0, rivals - total, 0), value)


_CONSTANT = np.log(2 * np.pi) / 2


@fault(
    id="D03",
    slug="deviation-for-the-variance",
    clause="DIST-6",
    seen=("hill-a/stable-baselines#1059", "hill-a/stable-baselines#1060", "takuseno/d3rlpy#192"),
    effect="The deviation stands where its square belongs, and half of its logarithm where all of it does.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std / 2)
    return value, d_mean, d_log_std / 2


@fault(
    id="S01",
    slug="deviation-exponentiated-twice",
    clause="DIST-6",
    seen=("hill-a/stable-baselines#1058",),
    effect="What is passed on as a logarithm is the deviation already, and is exponentiated again.",
)
def gaussian_logp(actions, mean, log_std):
    deviation = np.exp(log_std)
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, deviation)
    return value, d_mean, d_log_std * deviation


@fault(
    id="D04",
    slug="axes-not-summed",
    clause="OPS-1",
    seen=("thu-ml/tianshou#40", "thu-ml/tianshou@57bca16f", "AI4Finance-Foundation/ElegantRL#273"),
    effect="Every axis keeps a log-density and a ratio of its own, and is clipped as if it were an action.",
)
def gaussian_logp(actions, mean, log_std):
    value, *slopes = right.gaussian_logp(actions.reshape(-1, 1), mean.reshape(-1, 1), log_std.reshape(-1, 1))
    return value.reshape(actions.shape), *(slope.reshape(actions.shape) for slope in slopes)


@fault(
    id="S02",
    slug="summed-over-the-batch-as-well",
    clause="OPS-6",
    seen=("PacktPublishing/Tensorflow-2-Reinforcement-Learning-Cookbook#46",),
    effect="The sum is not told over which axis it goes: every action has the log-density of the whole batch.",
)
def gaussian_logp(actions, mean, log_std):
    value, *slopes = right.gaussian_logp(actions, mean, log_std)
    return np.full_like(value, value.sum()), *slopes


@fault(
    id="S03",
    slug="density-of-the-clipped-action",
    clause="DIST-6",
    seen=("kuds/mesozoic-labs#408",),
    effect="The action is clipped to its bounds before its density is taken: that of another action.",
)
def gaussian_logp(actions, mean, log_std):
    return right.gaussian_logp(np.clip(actions, -1, 1), mean, log_std)


@fault(
    id="S04",
    slug="action-stored-in-fewer-digits",
    clause="DIST-6",
    seen=("PufferAI/PufferLib#584",),
    effect="The action is rounded to bfloat16 before its density is taken: the ratio is not 1 before the first update.",
)
def gaussian_logp(actions, mean, log_std):
    size = 2.0 ** (np.floor(np.log2(np.maximum(abs(actions), 2.0**-126))) - 7)
    return right.gaussian_logp(np.round(actions / size) * size, mean, log_std)


@fault(
    id="S05",
    slug="stretched-without-being-squashed",
    clause="DIST-6",
    seen=("hwang-ua/inac_pytorch#1",),
    effect="The mean is squashed and not the action, and the action's density is corrected all the same.",
)
def gaussian_logp(actions, mean, log_std):
    _, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std)
    value, _ = right.squashed_gaussian_logp(actions, mean, log_std)
    return value, d_mean, d_log_std


@fault(
    id="M-PG-37",
    slug="derivative-in-the-deviation-itself",
    clause="DIST-7",
    effect="The derivative is that in the deviation, and the network's output is its logarithm.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std)
    return value, d_mean, d_log_std / np.exp(log_std)


@fault(
    id="M-PG-38",
    slug="constant-of-the-density-left-out",
    clause="DIST-8",
    effect="The root of 2 pi is left out, as it cancels in ratios: entropies that are estimated from it are off.",
)
def gaussian_logp(actions, mean, log_std):
    value, *slopes = right.gaussian_logp(actions, mean, log_std)
    return value + actions.shape[1] * _CONSTANT, *slopes


@fault(
    id="M-PG-39",
    slug="normaliser-not-differentiated",
    clause="DIST-13",
    effect="The deviation that the density is divided by is detached: every action drawn makes the policy wider.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std)
    return value, d_mean, d_log_std + 1


@fault(
    id="S06",
    slug="deviation-clipped-in-one-formula-of-several",
    clause="DIST-17",
    seen=("yaacovpariente/POMDPPlanners#154",),
    effect="The logarithm of the deviation is kept within -5 and 2 here and nowhere else: another policy's numbers.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, np.clip(log_std, -5, 2))
    return value, d_mean, np.where((log_std < -5) | (log_std > 2), 0, d_log_std)


@fault(
    id="S07",
    slug="half-of-the-logarithm-in-gaussian-entropy",
    clause="DIST-10",
    seen=("ray-project/ray#6393", "ray-project/ray#6475", "ray-project/ray#2920"),
    effect="The factor that belongs to the logarithm of the variance is put before that of the deviation.",
)
def gaussian_entropy(log_std):
    value, slope = right.gaussian_entropy(log_std / 2)
    return value, slope / 2


@fault(
    id="S08",
    slug="twice-the-gaussian-entropy",
    clause="DIST-10",
    seen=("Unity-Technologies/ml-agents#4319",),
    effect="The factor of one half is missing before the whole: the bonus is twice what was asked for.",
)
def gaussian_entropy(log_std):
    return tuple(2 * part for part in right.gaussian_entropy(log_std))


@fault(
    id="S09",
    slug="sum-for-the-product-in-the-logarithm",
    clause="DIST-10",
    seen=("andrewliao11/pytorch-a3c-mujoco#2",),
    effect="The logarithm is that of 2 pi plus the variance, not times: narrow policies hardly notice the bonus.",
)
def gaussian_entropy(log_std):
    variance = np.exp(2 * log_std)
    value = (np.log(2 * np.pi + variance) + 1) / 2
    return value.sum(axis=1), variance / (2 * np.pi + variance)


@fault(
    id="S10",
    slug="constant-once-for-all-axes",
    clause="DIST-9",
    seen=("JuliaReinforcementLearning/ReinforcementLearningZoo.jl#169",),
    effect="The constant of the entropy is added once, whatever the number of axes.",
)
def gaussian_entropy(log_std):
    value, slope = right.gaussian_entropy(log_std)
    return value - (log_std.shape[1] - 1) * (_CONSTANT + 0.5), slope


@fault(
    id="D13",
    slug="variance-outside-of-the-bracket",
    clause="DIST-11",
    seen=("PacktPublishing/Deep-Reinforcement-Learning-Hands-On#17",),
    effect="Only the distance of the means is divided by the variance: a policy lies at a distance from itself.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    value, d_mean, d_log_std = right.gaussian_kl(mean, log_std, ref_mean, ref_log_std)
    variance, half = np.exp(2 * log_std), np.exp(2 * (log_std - ref_log_std)) / 2
    return value + (variance - half).sum(axis=1), d_mean, d_log_std + 2 * (variance - half)


@fault(
    id="S11",
    slug="gaussian-policies-swapped",
    clause="DIST-11",
    seen=("tensorforce/tensorforce#107", "openai/spinningup#264"),
    effect="The divergence is that of the reference from the policy: what bounds it bounds something else.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    value, *_ = right.gaussian_kl(ref_mean, ref_log_std, mean, log_std)
    precision = np.exp(-2 * log_std)
    apart = (mean - ref_mean) * precision
    return value, apart, 1 - np.exp(2 * ref_log_std) * precision - apart * (mean - ref_mean)


@fault(
    id="M-PG-40",
    slug="gradient-of-the-reference",
    clause="DIST-12",
    effect="The derivative is that in the reference's mean: the policy is led away from it.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    value, d_mean, d_log_std = right.gaussian_kl(mean, log_std, ref_mean, ref_log_std)
    return value, -d_mean, d_log_std


@fault(
    id="M-PG-41",
    slug="epsilon-beside-the-variance",
    clause="DIST-17",
    effect="1e-8 is added to the reference's variance: where that is nearly certain nothing else is left of it.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    widened = np.log(np.exp(2 * ref_log_std) + 1e-8) / 2
    return right.gaussian_kl(mean, log_std, ref_mean, widened)


@fault(
    id="D09",
    slug="density-of-what-was-squashed",
    clause="DIST-14",
    seen=("automl/Mighty#118",),
    effect="The density is that before squashing: a ratio with one that was stretched explodes towards the bounds.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    value, d_mean, _ = right.gaussian_logp(presquash, mean, log_std)
    return value, -d_mean


@fault(
    id="D10",
    slug="presquash-computed-from-the-action",
    clause="DIST-16",
    seen=("ray-project/ray#14878", "ray-project/ray#65036"),
    effect="The action is clamped and led back through the inverse: at its bounds that of another action.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    clamped = np.clip(np.tanh(presquash), -1 + 1e-6, 1 - 1e-6)
    value, slope = right.squashed_gaussian_logp(np.arctanh(clamped), mean, log_std)
    return value, np.where(abs(np.tanh(presquash)) > 1 - 1e-6, 0, slope)


@fault(
    id="S12",
    slug="epsilon-beside-the-stretch",
    clause="DIST-16",
    seen=("rlworkgroup/garage#1174", "ray-project/ray#14878"),
    effect="1e-6 is added to 1 - tanh(u)^2: from |u| = 8 on it is all that is left of it.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    value, d_mean, _ = right.gaussian_logp(presquash, mean, log_std)
    squashed = np.tanh(presquash)
    stretch = 1 - squashed**2 + 1e-6
    return value - np.log(stretch).sum(axis=1), 2 * squashed * (1 - squashed**2) / stretch - d_mean


@fault(
    id="M-PG-42",
    slug="stretch-not-differentiated",
    clause="DIST-15",
    effect="The stretch is part of the log-density and not of its gradient: nothing pulls actions from their bounds.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    value, slope = right.squashed_gaussian_logp(presquash, mean, log_std)
    return value, slope - 2 * np.tanh(presquash)


@fault(
    id="D30",
    slug="entropy-before-the-temperature",
    clause="DIST-18",
    seen=("OpenRLHF/OpenRLHF#1319",),
    effect="The entropy is that of the logits as they are, and the policy was sampled from at a temperature.",
)
def tempered_entropy(logits, temperature):
    return right.entropy(logits, np.ones(logits.shape, dtype=bool))


@fault(
    id="M-DIST-2",
    slug="derivative-in-tempered-logits",
    clause="DIST-19",
    effect="The derivative is that in theta / T: the bonus is too weak at a low temperature.",
)
def tempered_entropy(logits, temperature):
    return right.entropy(logits / temperature, np.ones(logits.shape, dtype=bool))


@fault(
    id="M-DIST-3",
    slug="entropy-divided-by-the-temperature",
    clause="DIST-20",
    effect="Log-probabilities are divided by the temperature, which does not make those of the tempered policy.",
)
def tempered_entropy(logits, temperature):
    return tuple(part / temperature for part in right.entropy(logits, np.ones(logits.shape, dtype=bool)))


@fault(
    id="M-DIST-4",
    slug="logits-multiplied-by-the-temperature",
    clause="DIST-21",
    effect="The temperature multiplies the logits: what is meant to be warmer is colder.",
)
def tempered_entropy(logits, temperature):
    value, slopes = right.entropy(logits * temperature, np.ones(logits.shape, dtype=bool))
    return value, slopes * temperature


@fault(
    id="M-DIST-5",
    slug="upper-bound-for-half-of-the-width",
    clause="DIST-22",
    effect="The upper bound is taken for half of the width, which it is between opposite bounds alone.",
)
def bounded_gaussian_logp(presquash, mean, log_std, low, high):
    reach = np.maximum(abs(high), 2.0**-10)
    return right.bounded_gaussian_logp(presquash, mean, log_std, -reach, reach)


@fault(
    id="M-DIST-6",
    slug="derivative-over-the-width",
    clause="DIST-23",
    effect="The derivative is divided by half of the width, as if it were one in the action.",
)
def bounded_gaussian_logp(presquash, mean, log_std, low, high):
    value, slope = right.bounded_gaussian_logp(presquash, mean, log_std, low, high)
    return value, slope / ((high - low) / 2)


@fault(
    id="M-DIST-7",
    slug="bounds-of-the-first-axis",
    clause="DIST-25",
    effect="All axes are taken to have the first one's bounds.",
)
def bounded_gaussian_logp(presquash, mean, log_std, low, high):
    first = (np.full_like(bound, bound[0]) for bound in (low, high))
    return right.bounded_gaussian_logp(presquash, mean, log_std, *first)


@fault(
    id="D31",
    slug="epsilon-beside-the-scaled-stretch",
    clause="DIST-25",
    seen=("pranz24/pytorch-soft-actor-critic#14", "vwxyzjn/cleanrl#524"),
    effect="1e-6 is added to the width times 1 - tanh(u)^2: near a bound it is all that is left of it.",
)
def bounded_gaussian_logp(presquash, mean, log_std, low, high):
    value, d_mean, _ = right.gaussian_logp(presquash, mean, log_std)
    squashed, width = np.tanh(presquash), (high - low) / 2
    stretch = width * (1 - squashed**2) + 1e-6
    return value - np.log(stretch).sum(axis=1), 2 * squashed * width * (1 - squashed**2) / stretch - d_mean
