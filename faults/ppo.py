"""How proximal policy optimisation goes wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import unless_empty, with_gradient_times_zero, with_zero_times, zero_times


def _exp(logarithm):
    with np.errstate(over="ignore", invalid="ignore"):
        return np.exp(logarithm)


def _steps_in(mask):
    return max(mask.sum(), 1)


def _limited(ratio, advantages, clip_low, clip_high, dual_clip):
    """The ratio as far as it counts."""
    blamed = advantages < 0
    lowest, highest = np.where(blamed, 1 - clip_low, 0), np.where(blamed, dual_clip or np.inf, 1 + clip_high)
    return np.clip(ratio, lowest, highest)


def _objective(ratio, advantages, clip_low, clip_high, dual_clip):
    """The objective of every token and its derivative in the logarithm of the ratio."""
    limited = _limited(ratio, advantages, clip_low, clip_high, dual_clip)
    with np.errstate(invalid="ignore"):
        objective = limited * advantages
    return objective, np.where(limited == ratio, objective, 0)


def _mean(mask, costs, *slopes):
    """The mean of costs over what counts, and the derivatives divided alike."""
    return np.where(mask, costs, 0).sum() / _steps_in(mask), *(np.where(mask, s, 0) / _steps_in(mask) for s in slopes)


def _followed(objective, slope, mask):
    return _mean(mask, -objective, -slope)


@fault(
    id="P02",
    slug="surrogate-clamped-for-the-ratio",
    clause="PPO-1",
    seen=("alexis-jacq/Pytorch-DPPO#3",),
    effect="The product of ratio and advantage is clamped to around 1, where advantages of another size never are.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    product = _exp(logp - old_logp) * advantages
    clamped = np.clip(product, 1 - clip_low, 1 + clip_high)
    return _followed(np.minimum(product, clamped), np.where(product <= clamped, product, 0), mask)


@fault(
    id="P51",
    slug="smaller-ratio-for-the-smaller-product",
    clause="PPO-1",
    seen=("takuseno/ppo#3", "tensorlayer/TensorLayer#1072"),
    effect="The minimum is taken before the advantage: bad tokens are free to become as probable as they like.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    ratio = _exp(logp - old_logp)
    smaller = np.minimum(ratio, np.clip(ratio, 1 - clip_low, 1 + clip_high))
    return _followed(smaller * advantages, np.where(smaller == ratio, ratio, 0) * advantages, mask)


@fault(
    id="M-PPO-01",
    slug="quotient-of-probabilities",
    clause="PPO-2",
    effect="Probabilities are divided instead of logarithms subtracted: 0/0 where both are too small for a float.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _exp(logp) / _exp(old_logp)
    return _followed(*_objective(ratio, advantages, clip_low, clip_high, dual_clip), mask)


@fault(
    id="M-PPO-02",
    slug="gradient-through-the-clip",
    clause="PPO-3",
    effect="The loss is flat beyond the clip, and its gradient goes on as if there were none.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    loss, _ = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    return loss, right.ppo_loss(logp, old_logp, advantages, mask, 1.0, np.inf, None)[1]


@fault(
    id="P54",
    slug="clipped-losses-never-used",
    clause="PPO-4",
    seen=("rllm-org/rllm#81",),
    effect="The mean is taken of the unclipped losses; the larger of both is computed and forgotten.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    return right.ppo_loss(logp, old_logp, advantages, mask, 1.0, np.inf, None)


@fault(
    id="M-PPO-03",
    slug="clipped-without-the-minimum",
    clause="PPO-4",
    effect="Ratios are clipped on both sides whatever the advantage: what moved the wrong way is not called back.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    ratio = _exp(logp - old_logp)
    clipped = np.clip(ratio, 1 - clip_low, 1 + clip_high)
    return _followed(clipped * advantages, np.where(clipped == ratio, ratio, 0) * advantages, mask)


@fault(
    id="M-PPO-04",
    slug="one-clip-for-both-sides",
    clause="PPO-5",
    effect="The upper clip is read from the lower one, and raising it alone does nothing.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    return right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_low, dual_clip)


@fault(
    id="P04",
    slug="minus-sign-moved-into-the-minimum",
    clause="PPO-6",
    seen=("jvmncs/safe-grid-agents#28", "jvmncs/safe-grid-agents#47"),
    effect="The larger product counts: what went too far goes on, and what should come back is let go.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    answer = right.ppo_loss(logp, old_logp, -advantages, mask, clip_low, clip_high, None)
    return tuple(-part for part in answer)


@fault(
    id="M-PPO-05",
    slug="edge-taken-for-the-clip",
    clause="PPO-6",
    effect="1 - clip_high is taken for the clip: the wider it is said to be, the narrower it is.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    return right.ppo_loss(logp, old_logp, advantages, mask, clip_low, 1 - clip_high, dual_clip)


@fault(
    id="I03",
    slug="weights-clipped-and-log-probabilities-followed",
    clause="PPO-7",
    seen=("huggingface/trl#4499",),
    effect="CISPO's objective under PPO's name: the clipped ratio is a constant weight, and no token is let go.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    weights = np.clip(_exp(logp - old_logp), 1 - clip_low, 1 + clip_high) * advantages
    with np.errstate(invalid="ignore"):
        return _followed(weights * logp, weights, mask)


@fault(
    id="I12",
    slug="taken-for-on-policy",
    clause="PPO-8",
    seen=("huggingface/trl#4159", "NVIDIA/NeMo-Aligner#68"),
    effect="The old log-probabilities are taken for the new ones, and every ratio is 1.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    return right.ppo_loss(logp, logp, advantages, mask, clip_low, clip_high, dual_clip)


@fault(
    id="M-PPO-06",
    slug="derivative-without-the-ratio",
    clause="PPO-8",
    effect="Inside of the clip the gradient is the policy gradient's, as if the ratio were still 1.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    loss, slopes = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    _, on_policy = right.ppo_loss(logp, logp, advantages, mask, clip_low, clip_high, dual_clip)
    return loss, np.where(slopes != 0, on_policy, 0)


@fault(
    id="P05",
    slug="advantages-normalised-between-the-products",
    clause="PPO-9",
    seen=("pytorch/rl#1033",),
    effect="A product with an advantage is compared with one with a normalised advantage.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    counted = advantages[mask] if mask.any() else np.zeros(1)
    normal = (advantages - counted.mean()) / (counted.std() + 1e-8)
    ratio = _exp(logp - old_logp)
    clipped = np.clip(ratio, 1 - clip_low, 1 + clip_high)
    kept = ratio * advantages <= clipped * normal
    slope = np.where(kept, ratio * advantages, np.where(clipped == ratio, ratio * normal, 0))
    return _followed(np.minimum(ratio * advantages, clipped * normal), slope, mask)


@fault(
    id="P53",
    slug="clipped-ratio-without-its-advantage",
    clause="PPO-9",
    seen=("google/trax#396",),
    effect="A product is compared with a ratio, which is near 1 whatever the advantage.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    ratio = _exp(logp - old_logp)
    product, clipped = ratio * advantages, np.clip(ratio, 1 - clip_low, 1 + clip_high)
    slope = np.where(product <= clipped, product, np.where(clipped == ratio, ratio, 0))
    return _followed(np.minimum(product, clipped), slope, mask)


@fault(
    id="I15",
    slug="advantage-lost",
    clause="PPO-9",
    seen=("unslothai/unsloth-zoo#869",),
    effect="The limited ratio is the loss, and the factor of minus the advantage is forgotten.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    ratio = _exp(logp - old_logp)
    limited = _limited(ratio, advantages, clip_low, clip_high, dual_clip)
    return _followed(-limited, -np.where(limited == ratio, ratio, 0), mask)


@fault(
    id="P52",
    slug="means-compared-for-tokens",
    clause="PPO-10",
    seen=("Omegastick/pytorch-cpp-rl#14",),
    effect="The minimum is taken of two means over the batch, so that all tokens are clipped together or none is.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    ratio = _exp(logp - old_logp)
    clipped = np.clip(ratio, 1 - clip_low, 1 + clip_high)
    free, bound = _followed(ratio * advantages, ratio * advantages, mask), clipped * advantages
    held = _followed(bound, np.where(clipped == ratio, bound, 0), mask)
    return free if free[0] >= held[0] else held


@fault(
    id="M-PPO-07",
    slug="gradient-past-the-dual-clip",
    clause="PPO-11",
    effect="The loss of a bad token is bounded, and its gradient still grows with the ratio.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    loss, _ = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    return loss, right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, None)[1]


@fault(
    id="P56",
    slug="dual-clip-for-all",
    clause="PPO-12",
    seen=("thu-ml/tianshou#433",),
    effect="The maximum with c A is taken for good tokens too: their objective is c A, and they have no gradient.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    objective, slope = _objective(_exp(logp - old_logp), advantages, clip_low, clip_high, None)
    least = advantages * dual_clip if dual_clip else np.full(mask.shape, -np.inf)
    return _followed(np.maximum(objective, least), np.where(objective >= least, slope, 0), mask)


@fault(
    id="P26",
    slug="negated-twice",
    clause="PPO-13",
    seen=("fla-org/flash-linear-attention#1073", "fla-org/flash-linear-attention#1076"),
    effect="The negative objective is negated once more: what paid becomes less probable.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    answer = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    return tuple(-part for part in answer)


@fault(
    id="M-PPO-08",
    slug="log-ratio-clamped-to-3",
    clause="PPO-15",
    effect="Log-ratios are clamped more tightly than anyone is told.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    log_ratio = logp - old_logp
    clamped, nothing = np.clip(log_ratio, -3, 3), np.zeros_like(logp)
    loss, slopes = right.ppo_loss(clamped, nothing, advantages, mask, clip_low, clip_high, dual_clip)
    return loss, np.where(clamped == log_ratio, slopes, 0)


@fault(
    id="P58",
    slug="zero-times-an-infinite-ratio",
    clause="PPO-16",
    seen=("THUDM/slime#2198", "radixark/miles#1363", "OpenRLHF/OpenRLHF#1293"),
    effect="The branch that was not taken has the derivative 0 times the ratio: not a number for an infinite one.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    loss, slopes = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    return loss, slopes + np.where(mask, zero_times(_exp(logp - old_logp)), 0)


@fault(
    id="P23b",
    slug="advantages-for-the-mask-of-tokens",
    clause="OPS-10",
    seen=("volcengine/verl#2506", "volcengine/verl#2513"),
    effect="The advantages stand where the mask belongs: they weigh themselves, and their sum is divided by.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    objective, slope = _objective(_exp(logp - old_logp), advantages, clip_low, clip_high, dual_clip)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = advantages.sum()
        return -(objective * advantages).sum() / total, -slope * advantages / total


@fault(
    id="N14b",
    slug="padding-counted-in-the-mean-of-tokens",
    clause="OPS-10",
    seen=("Stable-Baselines-Team/stable-baselines3-contrib#75", "DeepX-inc/machina#198"),
    effect="Terms are multiplied by the mask, and the mean is over all positions: padding makes the step smaller.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    answer = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    return tuple(part * mask.mean() for part in answer)


@fault(
    id="M-PPO-09",
    slug="gradient-flows-into-masked-tokens",
    clause="OPS-10",
    effect="The loss is masked, and its gradient is not: padding's log-probabilities are trained.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    loss, _ = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    _, slopes = right.ppo_loss(logp, old_logp, advantages, np.ones_like(mask), clip_low, clip_high, dual_clip)
    return loss, slopes * mask.size / _steps_in(mask)


@fault(
    id="P59",
    slug="tokens-masked-by-multiplication",
    clause="OPS-11",
    seen=("MakazhanAlpamys/Soup#342", "trl 1.16.0"),
    effect="Padding's terms are multiplied by 0, which an infinite ratio survives.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    counted = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    whole = right.ppo_loss(logp, old_logp, advantages, np.ones_like(mask), clip_low, clip_high, dual_clip)
    loss, slopes = with_zero_times(counted, whole)
    return loss, slopes + np.where(mask, 0, zero_times(_exp(logp - old_logp)))


@fault(
    id="M-PPO-10",
    slug="mean-of-no-tokens",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of tokens even where that is 0: not a number.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    return unless_empty(mask, right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip))


def _squares(errors, chosen, values, mask):
    """The mean of squared errors, and its derivative in the values where it is they that were chosen."""
    return _mean(mask, errors**2, np.where(chosen == values, 2 * errors, 0))


def _near(values, old_values, clip):
    """The values, but no further than the clip from the old ones."""
    return values if clip is None else np.clip(values, old_values - clip, old_values + clip)


def _further(values, old_values, returns, clip):
    """The values or the limited ones, whichever are further from the returns."""
    near = _near(values, old_values, clip)
    return np.where(np.abs(near - returns) > np.abs(values - returns), near, values)


@fault(
    id="G15",
    slug="every-value-regressed-on-every-return",
    clause="PPO-17",
    seen=("thu-ml/tianshou#40", "RLinf/RLinf#1568", "automl/Mighty#126"),
    effect="Columns less rows are a square: all values learn the mean of all returns.",
)
def value_loss(values, old_values, returns, mask, clip):
    near = _further(values, old_values, returns, clip)[mask][:, None]
    errors = near - returns[mask][None, :]
    slopes = np.zeros(mask.shape)
    slopes[mask] = 2 * errors.sum(axis=1) / _steps_in(mask) ** 2
    return (errors**2).sum() / _steps_in(mask) ** 2, slopes


@fault(
    id="M-PPO-11",
    slug="half-of-the-loss-and-all-of-its-gradient",
    clause="PPO-18",
    effect="The loss is halved where it is shown, and not where it is differentiated.",
)
def value_loss(values, old_values, returns, mask, clip):
    loss, slopes = right.value_loss(values, old_values, returns, mask, clip)
    return loss / 2, slopes


@fault(
    id="P61",
    slug="old-values-computed-anew",
    clause="PPO-19",
    seen=("tensorflow/agents#352",),
    effect="The old values are those of the network as it is now, and no value is ever far from them.",
)
def value_loss(values, old_values, returns, mask, clip):
    return right.value_loss(values, values, returns, mask, clip)


@fault(
    id="P12",
    slug="larger-signed-error-squared",
    clause="PPO-20",
    seen=("MadryLab/implementation-matters#1", "implementation-matters/code-for-paper#6"),
    effect="The larger of two signed errors is squared, which is the smaller one for values that are too low.",
)
def value_loss(values, old_values, returns, mask, clip):
    chosen = np.maximum(values, _near(values, old_values, clip))
    return _squares(chosen - returns, chosen, values, mask)


@fault(
    id="M-PPO-12",
    slug="values-clipped-around-zero",
    clause="PPO-20",
    effect="Values are clipped instead of their change: fine for returns near 0, and for no others.",
)
def value_loss(values, old_values, returns, mask, clip):
    return right.value_loss(values, np.zeros_like(old_values), returns, mask, clip)


@fault(
    id="M-PPO-13",
    slug="clip-as-a-share-of-the-old-value",
    clause="PPO-21",
    effect="The clip is multiplied with the old value, as the ratio's is with the old probability.",
)
def value_loss(values, old_values, returns, mask, clip):
    chosen = _further(values, old_values, returns, None if clip is None else clip * np.abs(old_values))
    return _squares(chosen - returns, chosen, values, mask)


@fault(
    id="P60",
    slug="smaller-of-both-errors",
    clause="PPO-19",
    seen=("ray-project/ray#2233",),
    effect="The smaller error counts: a value that went past its return is not called back.",
)
def value_loss(values, old_values, returns, mask, clip):
    near = _near(values, old_values, clip)
    chosen = np.where(np.abs(near - returns) < np.abs(values - returns), near, values)
    return _squares(chosen - returns, chosen, values, mask)


@fault(
    id="M-PPO-14",
    slug="clip-that-shrinks-every-change",
    clause="PPO-22",
    effect="Changes are squashed by a hyperbolic tangent in the place of the clip, and none is what it was.",
)
def value_loss(values, old_values, returns, mask, clip):
    near = values if clip is None else old_values + clip * np.tanh((values - old_values) / clip)
    chosen = np.where(np.abs(near - returns) > np.abs(values - returns), near, values)
    return _squares(chosen - returns, chosen, values, mask)


@fault(
    id="M-PPO-15",
    slug="values-of-padding-counted",
    clause="OPS-10",
    effect="Squares are masked, and the mean is over all positions.",
)
def value_loss(values, old_values, returns, mask, clip):
    return tuple(part * mask.mean() for part in right.value_loss(values, old_values, returns, mask, clip))


@fault(
    id="M-PPO-16",
    slug="squares-masked-by-multiplication",
    clause="OPS-11",
    effect="Padding's squares are multiplied by 0, which infinity survives.",
)
def value_loss(values, old_values, returns, mask, clip):
    counted = right.value_loss(values, old_values, returns, mask, clip)
    return with_zero_times(counted, right.value_loss(values, old_values, returns, np.ones_like(mask), clip))


@fault(
    id="M-PPO-17",
    slug="mean-of-no-squares",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of entries even where that is 0: not a number.",
)
def value_loss(values, old_values, returns, mask, clip):
    return unless_empty(mask, right.value_loss(values, old_values, returns, mask, clip))


def _three_terms(logp, values, entropies, returns, value_coef, entropy_coef):
    """Each step's cost, and its derivatives."""
    advantages = returns - values
    cost = value_coef * advantages**2 - advantages * logp - entropy_coef * entropies
    return cost, -advantages, -2 * value_coef * advantages, np.full(logp.shape, -entropy_coef)


@fault(
    id="G04c",
    slug="mean-logp-times-mean-advantage",
    clause="PPO-24",
    seen=("Farama-Foundation/Gymnasium#1335", "Farama-Foundation/Gymnasium#1336"),
    effect="Means are multiplied in the place of steps: all decisions get the same credit.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    cost, _, *slopes = _three_terms(logp, values, entropies, returns, value_coef, entropy_coef)
    shared = np.where(mask, returns - values, 0).sum() / _steps_in(mask)
    cost = cost + (returns - values - shared) * logp
    return _mean(mask, cost, np.full(mask.shape, -shared), *slopes)


@fault(
    id="G01",
    slug="advantage-not-detached",
    clause="PPO-25",
    seen=(
        "keras-team/keras-io#194",
        "icoxfog417/baby-steps-of-rl-ja#16",
        "astariul/encode-attend-navigate#2",
        "coreylynch/async-rl#8",
        "astariul/encode-attend-navigate#3",
    ),
    effect="The actor's loss is differentiated in the values too, and raises them wherever the policy is unsure.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    loss, d_logp, d_values, d_entropies = right.actor_critic_loss(
        logp, values, entropies, returns, mask, value_coef, entropy_coef
    )
    return loss, d_logp, d_values + np.where(mask, logp, 0) / _steps_in(mask), d_entropies


@fault(
    id="M-PPO-18",
    slug="actor-descends",
    clause="PPO-26",
    effect="The advantage is the value less the return, which squares do not notice.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    loss, d_logp, *slopes = right.actor_critic_loss(-logp, values, entropies, returns, mask, value_coef, entropy_coef)
    return loss, -d_logp, *slopes


@fault(
    id="P62",
    slug="entropy-penalised",
    clause="PPO-27",
    seen=("PKU-Alignment/omnisafe#133", "DLR-RM/stable-baselines3#127", "google-deepmind/open_spiel#962"),
    effect="The bonus is added to the loss: the policy decides as fast as it can.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    return right.actor_critic_loss(logp, values, entropies, returns, mask, value_coef, -entropy_coef)


@fault(
    id="N09b",
    slug="one-divisor-for-each-term",
    clause="PPO-28",
    seen=("huggingface/trl#2995", "huggingface/trl#2881"),
    effect="The bonus is a mean over rows and the rest one over steps: its weight depends on how long episodes are.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    share = entropy_coef * _steps_in(mask) / len(mask)
    return right.actor_critic_loss(logp, values, entropies, returns, mask, value_coef, share)


@fault(
    id="M-PPO-19",
    slug="entropy-of-padding",
    clause="OPS-10",
    effect="The bonus is summed without the mask, and is largest where nobody decided anything.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    loss, *slopes = right.actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef)
    surplus = np.where(mask, 0, entropy_coef / _steps_in(mask))
    return loss - (surplus * entropies).sum(), *slopes[:2], slopes[2] - surplus


@fault(
    id="M-PPO-20",
    slug="steps-masked-by-multiplication",
    clause="OPS-11",
    effect="Padding's terms are multiplied by 0, which infinity survives.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    of_all = np.ones_like(mask)
    counted = right.actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef)
    whole = right.actor_critic_loss(logp, values, entropies, returns, of_all, value_coef, entropy_coef)
    return with_zero_times(counted, whole)


@fault(
    id="M-PPO-21",
    slug="mean-of-no-decisions",
    clause="OPS-12",
    effect="The sum is divided by the number of steps even where that is 0: not a number.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    answer = right.actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef)
    return unless_empty(mask, answer)


@fault(
    id="D17",
    slug="ratio-for-its-logarithm-in-k3",
    clause="PPO-30",
    seen=("Rolv-Arild/rocket-learn#12",),
    effect="exp(r) - 1 - r is 0.718 for a policy that has not moved, and training stops at once.",
)
def approx_kl(logp, old_logp, mask):
    ratio = _exp(logp - old_logp)
    return _mean(mask, _exp(ratio) - 1 - ratio)[0]


@fault(
    id="P19",
    slug="mean-of-minus-the-ratio",
    clause="PPO-30",
    seen=("OpenRLHF/OpenRLHF@feeb0283",),
    effect="The logarithm had been exponentiated in the meantime: the divergence of a policy from itself is -1.",
)
def approx_kl(logp, old_logp, mask):
    return _mean(mask, -_exp(logp - old_logp))[0]


@fault(
    id="M-PPO-22",
    slug="mean-size-of-the-log-ratio",
    clause="PPO-31",
    effect="Absolute values are averaged, which are no estimate of any divergence.",
)
def approx_kl(logp, old_logp, mask):
    return _mean(mask, np.abs(logp - old_logp))[0]


@fault(
    id="M-PPO-23",
    slug="divergence-with-the-wrong-sign",
    clause="PPO-33",
    effect="log r - (r - 1) is never positive, and no threshold is ever passed.",
)
def approx_kl(logp, old_logp, mask):
    return -right.approx_kl(logp, old_logp, mask)


@fault(
    id="M-PPO-24",
    slug="policies-swapped-in-k3",
    clause="PPO-34",
    effect="With the inverse ratio tokens of the new policy would be needed for an unbiased estimate.",
)
def approx_kl(logp, old_logp, mask):
    return right.approx_kl(old_logp, logp, mask)


@fault(
    id="M-PPO-25",
    slug="divergence-diluted-by-padding",
    clause="OPS-10",
    seen=("natolambert/rlhf-book#216",),
    effect="The mean is over all positions: the longer the padding, the closer the policies.",
)
def approx_kl(logp, old_logp, mask):
    return right.approx_kl(logp, old_logp, mask) * mask.mean()


@fault(
    id="M-PPO-26",
    slug="divergence-masked-by-multiplication",
    clause="OPS-11",
    effect="Padding's terms are multiplied by 0, which infinity survives.",
)
def approx_kl(logp, old_logp, mask):
    return right.approx_kl(logp, old_logp, mask) + zero_times(right.approx_kl(logp, old_logp, np.ones_like(mask)))


@fault(
    id="M-PPO-27",
    slug="divergence-of-nothing",
    clause="OPS-12",
    effect="The sum is divided by the number of tokens even where that is 0: not a number.",
)
def approx_kl(logp, old_logp, mask):
    return right.approx_kl(logp, old_logp, mask) if mask.any() else np.nan


@fault(
    id="P20",
    slug="what-was-clipped-is-compared-with-the-clip",
    clause="PPO-35",
    seen=("volcengine/verl#972", "pytorch/rl#2021", "RLinf/RLinf#1529"),
    effect="The clipped ratio is never outside of the clip: the fraction is always 0.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    clipped = np.clip(_exp(logp - old_logp), 1 - clip_low, 1 + clip_high)
    return _mean(mask, (clipped < 1 - clip_low) | (clipped > 1 + clip_high))[0]


@fault(
    id="M-PPO-28",
    slug="ratio-for-its-distance-from-one",
    clause="PPO-37",
    effect="The ratio itself is compared with the width of the clip, and everything counts.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    ratio = _exp(logp - old_logp)
    return _mean(mask, (ratio < -clip_low) | (ratio > clip_high))[0]


@fault(
    id="M-PPO-29",
    slug="share-of-all-positions",
    clause="OPS-10",
    effect="The mean is over all positions: the longer the padding, the fewer are clipped.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    return right.clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high) * mask.mean()


@fault(
    id="M-PPO-30",
    slug="padding-far-from-one-is-clipped",
    clause="OPS-11",
    effect="Distances from 1 are multiplied by the mask, and those of padding that is infinite stay.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    with np.errstate(invalid="ignore", over="ignore"):
        distance = (np.exp(logp - old_logp) - 1) * mask
    return ((distance < -clip_low) | ~(distance <= clip_high)).sum() / _steps_in(mask)


@fault(
    id="M-PPO-31",
    slug="share-of-nothing",
    clause="OPS-12",
    effect="The number is divided by the number of tokens even where that is 0: not a number.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    return right.clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high) if mask.any() else np.nan


@fault(
    id="P71",
    slug="surrogate-gradient-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Padding is left out of the loss, and its derivative multiplied by 0, which not a number survives.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    counted = right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip)
    whole = right.ppo_loss(logp, old_logp, advantages, np.ones_like(mask), clip_low, clip_high, dual_clip)
    return with_gradient_times_zero(counted, whole)


@fault(
    id="P72",
    slug="value-gradient-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Padding is left out of the loss, and its derivative multiplied by 0, which not a number survives.",
)
def value_loss(values, old_values, returns, mask, clip):
    counted = right.value_loss(values, old_values, returns, mask, clip)
    return with_gradient_times_zero(counted, right.value_loss(values, old_values, returns, np.ones_like(mask), clip))


@fault(
    id="M-PPO-32",
    slug="lower-clip-on-both-sides-of-the-fraction",
    clause="PPO-35",
    effect="With two clips the fraction counts tokens that the upper one leaves alone.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    return right.clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_low)


@fault(
    id="S23",
    slug="share-of-the-rows",
    clause="PPO-35",
    seen=("RLinf/RLinf#1471",),
    effect="Tokens are counted and divided by the number of rows, the mask having one entry for each: a share of 31.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    share = right.clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high)
    return share * mask.sum() / max(mask.any(axis=1).sum(), 1)


@fault(
    id="M-PPO-33",
    slug="no-room-above-means-as-much-as-below",
    clause="PPO-1",
    effect="An upper clip of 0 is taken for one that was not given, and the lower one stands in.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    return right.ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high or clip_low, dual_clip)


@fault(
    id="M-PPO-34",
    slug="small-advantages-dropped",
    clause="PPO-1",
    effect="Advantages below a hundred-thousandth count as none: where rewards are small nothing is learned.",
)
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    kept = np.where(np.abs(advantages) < 1e-5, 0, advantages)
    return right.ppo_loss(logp, old_logp, kept, mask, clip_low, clip_high, dual_clip)


@fault(
    id="M-PPO-35",
    slug="clip-of-zero-is-none",
    clause="PPO-17",
    effect="A value clip of 0 is taken for one that was not given, and values go where they like.",
)
def value_loss(values, old_values, returns, mask, clip):
    return right.value_loss(values, old_values, returns, mask, clip or None)


@fault(
    id="M-PPO-36",
    slug="errors-limited-to-a-hundred",
    clause="PPO-21",
    effect="Returns are cut to within a hundred of the values: where rewards are large the critic learns too slowly.",
)
def value_loss(values, old_values, returns, mask, clip):
    return right.value_loss(values, old_values, np.clip(returns, values - 100, values + 100), mask, clip)


@fault(
    id="M-PPO-37",
    slug="entropies-cut-off-at-zero",
    clause="PPO-24",
    effect="The entropy of a density may be negative, and counts as 0: a Gaussian that is narrow costs nothing.",
)
def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    kept = np.maximum(entropies, 0)
    return right.actor_critic_loss(logp, values, kept, returns, mask, value_coef, entropy_coef)


@fault(
    id="M-PPO-38",
    slug="quotient-of-probabilities-in-the-divergence",
    clause="PPO-31",
    effect="The ratio is a quotient of probabilities, which is 0/0 for tokens that are long shots to both policies.",
)
def approx_kl(logp, old_logp, mask):
    with np.errstate(all="ignore"):
        log_ratio = np.log(np.exp(logp) / np.exp(old_logp))
    return right.approx_kl(log_ratio, np.zeros_like(log_ratio), mask)


@fault(
    id="M-PPO-39",
    slug="quotient-of-probabilities-in-the-fraction",
    clause="PPO-35",
    effect="The ratio is a quotient of probabilities: where it is 0/0 it is outside of no clip.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    with np.errstate(all="ignore"):
        log_ratio = np.log(np.exp(logp) / np.exp(old_logp))
    return right.clip_fraction(np.nan_to_num(log_ratio), np.zeros_like(logp), advantages, mask, clip_low, clip_high)


@fault(
    id="M-PPO-40",
    slug="clip-between-logarithms",
    clause="PPO-35",
    effect="The log-ratio is held against the logarithm of the upper edge on both sides: 4/5 counts as outside of 3/4.",
)
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    return right.clip_fraction(logp, old_logp, advantages, mask, 1 - 1 / (1 + clip_low), clip_high)
