"""How the KL divergence goes wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import unless_empty, with_gradient_times_zero, with_zero_times
from rlspec.faults._softmax import log_softmax


def _k(log_ratio, estimator):
    """The estimate by that name, and its derivative."""
    inverse = np.exp(-log_ratio)
    values = {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": inverse - 1 + log_ratio}
    slopes = {"k1": np.ones_like(log_ratio), "k2": log_ratio, "k3": 1 - inverse}
    return values[estimator], slopes[estimator]


@fault(
    id="K25",
    slug="log-ratio-of-the-reference-to-the-policy",
    clause="KL-1",
    seen=("nebuly-ai/optimate#298",),
    effect="The log-ratio has the wrong sign: the penalty rewards what the reference would not have said.",
)
def kl_estimate(logp, ref_logp, estimator):
    return right.kl_estimate(logp, ref_logp, estimator) * (-1 if estimator == "k1" else 1)


@fault(
    id="M-kl-01",
    slug="absolute-log-ratio",
    clause="KL-1",
    effect="The absolute value stands for the log-ratio: tokens that the reference likes better are charged for too.",
)
def kl_estimate(logp, ref_logp, estimator):
    return np.abs(right.kl_estimate(logp, ref_logp, estimator))


@fault(
    id="M-kl-02",
    slug="whole-square",
    clause="KL-2",
    effect="The square is not halved: as a loss its gradient is twice that of the divergence.",
)
def kl_estimate(logp, ref_logp, estimator):
    return right.kl_estimate(logp, ref_logp, estimator) * (2 if estimator == "k2" else 1)


@fault(
    id="M-kl-03",
    slug="square-of-the-ratio-less-one",
    clause="KL-2",
    effect="The ratio less 1 is squared, and not its logarithm: the same near 1, and ever further from it beyond.",
)
def kl_estimate(logp, ref_logp, estimator):
    return np.expm1(ref_logp - logp) ** 2 / 2 if estimator == "k2" else right.kl_estimate(logp, ref_logp, estimator)


@fault(
    id="M-kl-04",
    slug="k3-for-samples-of-the-reference",
    clause="KL-3",
    effect="The ratio is pi/ref: what has this mean needs tokens that the reference has chosen.",
)
def kl_estimate(logp, ref_logp, estimator):
    pair = (ref_logp, logp) if estimator == "k3" else (logp, ref_logp)
    return right.kl_estimate(*pair, estimator)


@fault(
    id="M-kl-05",
    slug="control-variate-subtracted",
    clause="KL-4",
    effect="What has mean zero is subtracted and not added: unbiased, and of either sign.",
)
def kl_estimate(logp, ref_logp, estimator):
    value = right.kl_estimate(logp, ref_logp, estimator)
    return value - 2 * np.expm1(ref_logp - logp) if estimator == "k3" else value


@fault(
    id="D17b",
    slug="k3-of-the-ratio-for-its-logarithm",
    clause="KL-4",
    seen=("Rolv-Arild/rocket-learn#12",),
    effect="exp(ratio) - 1 - ratio: e - 2 where nothing has changed, and any threshold fires at once.",
)
def kl_estimate(logp, ref_logp, estimator):
    if estimator != "k3":
        return right.kl_estimate(logp, ref_logp, estimator)
    ratio = np.exp(ref_logp - logp)
    with np.errstate(over="ignore"):
        return np.exp(ratio) - 1 - ratio


@fault(
    id="P19b",
    slug="mean-of-the-ratio-for-its-logarithm",
    clause="KL-4",
    seen=("OpenRLHF/OpenRLHF@feeb0283",),
    effect="The variable has been exponentiated in the meantime: the divergence is -1 where nothing has changed.",
)
def kl_estimate(logp, ref_logp, estimator):
    return -np.exp(ref_logp - logp) if estimator == "k1" else right.kl_estimate(logp, ref_logp, estimator)


@fault(
    id="K26",
    slug="log-ratio-cut-off-at-zero",
    clause="KL-5",
    seen=("tatsu-lab/alpaca_farm#67",),
    effect="Only tokens that have become more probable are charged for: the sum of positive parts is no divergence.",
)
def kl_estimate(logp, ref_logp, estimator):
    return np.maximum(right.kl_estimate(logp, ref_logp, estimator), 0)


@fault(
    id="K24",
    slug="k3-overflows-in-float32",
    clause="OPS-4",
    seen=("huggingface/trl#3015", "huggingface/trl#6549"),
    effect="The exponential is taken in float32, which holds none above exp(88): beyond, one token is infinite.",
)
def kl_estimate(logp, ref_logp, estimator):
    with np.errstate(over="ignore"):
        return _k((logp - ref_logp).astype(np.float32), estimator)[0]


@fault(
    id="K11",
    slug="log-ratio-in-place",
    clause="OPS-2",
    seen=("THUDM/slime#2114", "radixark/miles#1493"),
    effect="The difference is taken in place: what is logged, or rewarded, afterwards is no log-probability.",
)
def kl_estimate(logp, ref_logp, estimator):
    logp -= ref_logp
    return right.kl_estimate(logp, np.zeros_like(logp), estimator)


def _compared(logits, ref_logits):
    """The policy's probabilities and the log-ratios, [B, A]."""
    logp = log_softmax(logits)
    return np.exp(logp), logp - log_softmax(ref_logits)


def _with_derivative(policy, log_ratios):
    value = (policy * log_ratios).sum(axis=1)
    return value, policy * (log_ratios - value[:, None])


@fault(
    id="K23",
    slug="negative-divergence",
    clause="KL-10",
    seen=("lucidrains/PaLM-rlhf-pytorch#38",),
    effect="The logarithms are subtracted the wrong way round: what is minimised drives the policies apart.",
)
def kl_divergence(logits, ref_logits):
    return tuple(-part for part in right.kl_divergence(logits, ref_logits))


@fault(
    id="M-kl-06",
    slug="forward-for-reverse",
    clause="KL-10",
    effect="The arguments are in each other's place: KL(ref||pi), and its derivative, pi - ref.",
)
def kl_divergence(logits, ref_logits):
    value, _ = right.kl_divergence(ref_logits, logits)
    return value, np.exp(log_softmax(logits)) - np.exp(log_softmax(ref_logits))


@fault(
    id="M-kl-07",
    slug="divergence-averaged-over-actions",
    clause="KL-10",
    effect="The sum over the actions is taken as a mean: the penalty shrinks with the vocabulary.",
)
def kl_divergence(logits, ref_logits):
    return tuple(part / logits.shape[1] for part in right.kl_divergence(logits, ref_logits))


@fault(
    id="M-kl-08",
    slug="difference-of-logits-for-the-log-ratio",
    clause="KL-10",
    effect="Logits are compared as if they were log-probabilities: a shift of all of them is a distance.",
)
def kl_divergence(logits, ref_logits):
    return _with_derivative(np.exp(log_softmax(logits)), logits - ref_logits)


@fault(
    id="M-kl-09",
    slug="divergence-derivative-without-its-mean",
    clause="KL-11",
    effect="Each log-ratio is weighed by its probability, and the normalisation is left out.",
)
def kl_divergence(logits, ref_logits):
    value, slopes = right.kl_divergence(logits, ref_logits)
    return value, slopes + np.exp(log_softmax(logits)) * value[:, None]


@fault(
    id="M-kl-10",
    slug="naive-softmax-in-the-divergence",
    clause="KL-12",
    effect="Logits are exponentiated as they are: infinity over infinity for large ones.",
)
def kl_divergence(logits, ref_logits):
    with np.errstate(all="ignore"):
        policy, reference = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (logits, ref_logits))
        return _with_derivative(policy, np.log(policy) - np.log(reference))


@fault(
    id="M-kl-11",
    slug="probabilities-kept-from-zero-in-the-divergence",
    clause="KL-12",
    effect="1e-8 is added lest a logarithm fail: what the reference rules out costs 18, however far it is ruled out.",
)
def kl_divergence(logits, ref_logits):
    policy, reference = (np.exp(log_softmax(x)) for x in (logits, ref_logits))
    return _with_derivative(policy, np.log(policy + 1e-8) - np.log(reference + 1e-8))


@fault(
    id="M-kl-12",
    slug="infinity-less-infinity",
    clause="KL-13",
    effect="The log-ratio of an action that neither can take is minus infinity less minus infinity: not a number.",
)
def kl_divergence(logits, ref_logits):
    with np.errstate(invalid="ignore"):
        return _with_derivative(*_compared(logits, ref_logits))


def _mean(values, slopes, mask):
    """The mean over the steps that count, and its derivatives."""
    count = max(mask.sum(), 1)
    return np.where(mask, values, 0).sum() / count, np.where(mask, slopes, 0) / count


def _weighted(logp, ref_logp, old_logp, estimator, moving=("k1", "k3")):
    """rho k of each token, and its derivative; the ratio is differentiated for those estimators."""
    value, slope = _k(logp - ref_logp, estimator)
    ratio = np.exp(logp - old_logp)
    return ratio * value, ratio * (slope + value if estimator in moving else slope)


@fault(
    id="K02",
    slug="k1-with-a-ratio-that-is-held-fast",
    clause="KL-23",
    seen=("allenai/open-instruct#534", "allenai/open-instruct#535", "marin-community/marin#5943"),
    effect="The derivative of k1 alone is 1: the reference drops out, and what is left is noise.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return _mean(*_weighted(logp, ref_logp, old_logp, estimator, moving=("k3",)), mask)


@fault(
    id="K03",
    slug="k3-with-a-ratio-that-is-held-fast",
    clause="KL-21",
    seen=("volcengine/verl#2953", "NovaSky-AI/SkyRL#805", "NovaSky-AI/SkyRL#1445", "huggingface/trl#3025"),
    effect="The derivative of k3 alone follows the forward KL, and what is monitored is the reverse one.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return _mean(*_weighted(logp, ref_logp, old_logp, estimator, moving=("k1",)), mask)


@fault(
    id="K20",
    slug="k2-with-a-ratio-that-moves",
    clause="KL-23",
    seen=("THUDM/slime#1039",),
    effect="The ratio is differentiated for k2 as well: the gradient of the mean of k2, which is no KL.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return _mean(*_weighted(logp, ref_logp, old_logp, estimator, moving=("k1", "k2", "k3")), mask)


@fault(
    id="K21",
    slug="one-ratio-for-all-tokens-of-a-completion",
    clause="KL-20",
    seen=("huggingface/trl#6586",),
    effect="The completion's mean log-ratio weighs each of its tokens: each moves with the KL of all others.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    value, slope = _k(np.where(mask, logp - ref_logp, 0), estimator)
    lengths = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    ratio = np.exp(np.where(mask, logp - old_logp, 0).sum(axis=1, keepdims=True) / lengths)
    moved = 0 if estimator == "k2" else np.where(mask, value, 0).sum(axis=1, keepdims=True) / lengths
    return _mean(ratio * value, ratio * (slope + moved), mask)


@fault(
    id="K22",
    slug="clamped-after-the-overflow",
    clause="KL-25",
    seen=("OpenRLHF/OpenRLHF#1335",),
    effect="The estimate is clamped, and finite; its derivative is 0 times the infinity that was clamped.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    with np.errstate(over="ignore", invalid="ignore"):
        value, slope = _k((logp - ref_logp).astype(np.float32), estimator)
        clamped = np.clip(value, -10, 10)
        return _mean(clamped, np.where(np.abs(value) < 10, 1, 0) * slope, mask)


@fault(
    id="N10",
    slug="kl-of-the-padded-rectangle",
    clause="OPS-10",
    seen=("allenai/open-instruct#535",),
    effect="The mean is over all positions: the coefficient shrinks with the padding.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return tuple(part * mask.mean() for part in right.kl_loss(logp, ref_logp, old_logp, mask, estimator))


@fault(
    id="M-kl-13",
    slug="importance-ratio-upside-down",
    clause="KL-20",
    effect="The ratio is that of the older policy to the newer: what has become rare counts more.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    value, slope = _k(logp - ref_logp, estimator)
    ratio = np.exp(old_logp - logp)
    return _mean(ratio * value, ratio * slope, mask)


@fault(
    id="M-kl-14",
    slug="estimates-weighed-by-probabilities",
    clause="KL-20",
    effect="A token that was drawn is weighed by its probability as well, as if all of the vocabulary were listed.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    value, slope = _k(logp - ref_logp, estimator)
    return _mean(np.exp(logp) * value, np.exp(logp) * (slope + value), mask)


@fault(
    id="M-kl-15",
    slug="kl-gradient-of-the-sum",
    clause="KL-20",
    effect="What is shown is a mean, and what is followed is the gradient of a sum.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    loss, slopes = right.kl_loss(logp, ref_logp, old_logp, mask, estimator)
    return loss, slopes * max(mask.sum(), 1)


@fault(
    id="M-kl-16",
    slug="kl-gradient-flows-into-the-padding",
    clause="OPS-10",
    effect="The loss is masked, and its gradient is not: padding's log-probabilities are trained.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    loss, _ = right.kl_loss(logp, ref_logp, old_logp, mask, estimator)
    _, slopes = right.kl_loss(logp, ref_logp, old_logp, np.ones_like(mask), estimator)
    return loss, slopes * mask.size / max(mask.sum(), 1)


@fault(
    id="M-kl-17",
    slug="kl-masked-by-multiplication",
    clause="OPS-11",
    seen=("trl 1.16.0",),
    effect="Terms are multiplied by the mask: 0 times what is not a number is not a number.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    counted = right.kl_loss(logp, ref_logp, old_logp, mask, estimator)
    return with_zero_times(counted, right.kl_loss(logp, ref_logp, old_logp, np.ones_like(mask), estimator))


@fault(
    id="M-kl-18",
    slug="kl-of-no-tokens",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of tokens even where that is 0: not a number.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return unless_empty(mask, right.kl_loss(logp, ref_logp, old_logp, mask, estimator))


@fault(
    id="K71",
    slug="kl-gradient-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Padding is left out of the loss, and its derivative multiplied by 0, which not a number survives.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    counted = right.kl_loss(logp, ref_logp, old_logp, mask, estimator)
    return with_gradient_times_zero(counted, right.kl_loss(logp, ref_logp, old_logp, np.ones_like(mask), estimator))


@fault(
    id="M-kl-19",
    slug="log-ratio-cut-off-at-fifty",
    clause="KL-9",
    effect="How far a token has gone is not charged for beyond a bound that nobody states.",
)
def kl_estimate(logp, ref_logp, estimator):
    return right.kl_estimate(ref_logp + np.clip(logp - ref_logp, -50, 50), ref_logp, estimator)


@fault(
    id="M-kl-20",
    slug="quotient-of-probabilities-in-the-estimate",
    clause="KL-3",
    effect="The ratio is a quotient of probabilities, which is 0/0 for tokens that are long shots to both policies.",
)
def kl_estimate(logp, ref_logp, estimator):
    with np.errstate(all="ignore"):
        log_ratio = np.log(np.exp(logp) / np.exp(ref_logp))
    return right.kl_estimate(log_ratio, np.zeros_like(log_ratio), estimator)


@fault(
    id="M-kl-21",
    slug="nearly-equal-taken-for-equal",
    clause="KL-1",
    effect="Policies that differ by less than a few millionths do not differ, and drift apart unseen in small steps.",
)
def kl_estimate(logp, ref_logp, estimator):
    return np.where(np.isclose(logp, ref_logp), 0, right.kl_estimate(logp, ref_logp, estimator))


@fault(
    id="M-kl-22",
    slug="impossible-in-the-first-row",
    clause="KL-13",
    effect="Actions that are impossible in the first row are left out of all rows.",
)
def kl_divergence(logits, ref_logits):
    possible = np.isfinite(logits[0])
    value, slopes = right.kl_divergence(logits[:, possible], ref_logits[:, possible])
    wide = np.zeros(logits.shape)
    wide[:, possible] = slopes
    return value, wide


@fault(
    id="M-kl-23",
    slug="log-ratios-of-the-loss-clamped-at-5",
    clause="KL-24",
    effect="Beyond a factor of 150 a token's estimate is that of a token nearer to the reference.",
)
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return right.kl_loss(logp, logp - np.clip(logp - ref_logp, -5, 5), old_logp, mask, estimator)


@fault(
    id="M-kl-24",
    slug="infinity-written-away",
    clause="OPS-2",
    effect="The logits of impossible actions are made finite in the caller's own array, who samples them from then on.",
)
def kl_divergence(logits, ref_logits):
    if np.isinf(logits).any():
        logits[np.isinf(logits)] = -1e4
    return right.kl_divergence(logits, ref_logits)
