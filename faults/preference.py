"""How preferences go wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import unless_empty, with_zero_times, zero_times


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def _known(valid, *columns):
    """The columns with something harmless in the rows that do not count."""
    return (np.where(valid, column, 1 if column.dtype.kind == "i" else -1.0) for column in columns)


def _mean(valid, values, *slopes):
    """The mean over the rows that count, and each row's share in the derivatives."""
    size = max(valid.sum(), 1)
    return np.where(valid, values, 0).sum() / size, *(np.where(valid, slope, 0) / size for slope in slopes)


def _margins(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, valid):
    chosen, rejected, ref_chosen, ref_rejected = _known(
        valid, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    )
    return (chosen - ref_chosen) - (rejected - ref_rejected)


@fault(
    id="X03",
    slug="log-probabilities-averaged-over-tokens",
    clause="PREF-4",
    seen=("linkedin/Liger-Kernel#693", "jingyaogong/minimind#451"),
    effect="A mean over tokens stands for the sum: beta is divided by the length of each answer.",
)
def completion_logp(token_logp, mask):
    return right.completion_logp(token_logp, mask) / np.maximum(mask.sum(axis=1), 1)


@fault(
    id="X21b",
    slug="padding-counted-in-the-answer",
    clause="OPS-10",
    seen=("0xallam/Direct-Preference-Optimization#4",),
    effect="The log-probabilities of padding are summed: the shorter answer of a pair has more of them.",
)
def completion_logp(token_logp, mask):
    return right.completion_logp(token_logp, np.ones_like(mask))


@fault(
    id="M-PREF-01",
    slug="answer-masked-by-multiplication",
    clause="OPS-11",
    effect="Log-probabilities are multiplied by the mask: 0 times minus infinity is not a number.",
)
def completion_logp(token_logp, mask):
    return right.completion_logp(token_logp, mask) + zero_times(token_logp).sum(axis=1)


@fault(
    id="M-PREF-02",
    slug="empty-answer-called-impossible",
    clause="OPS-10",
    effect="An answer without tokens gets a huge negative number, which is taken for a log-probability.",
)
def completion_logp(token_logp, mask):
    return np.where(mask.any(axis=1), right.completion_logp(token_logp, mask), -1e9)


@fault(
    id="M-PREF-03",
    slug="end-of-the-answer-left-out",
    clause="PREF-4",
    effect="The last token, which ends the answer, is not counted: that an answer stops is nobody's merit.",
)
def completion_logp(token_logp, mask):
    following = np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] - mask
    return right.completion_logp(token_logp, mask & (following > 0))


@fault(
    id="X51",
    slug="dpo-sign-inverted",
    clause="PREF-6",
    seen=("linkedin/Liger-Kernel#481",),
    effect="The loss is negative, and the policy learns to prefer what was rejected.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return tuple(-part for part in right.dpo_loss(*logps, beta, label_smoothing, valid))


@fault(
    id="X52",
    slug="dpo-without-reference",
    clause="PREF-7",
    seen=("linkedin/Liger-Kernel#387",),
    effect="The reference's log-probabilities are left out: nothing keeps the policy close to it.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    nothing = np.zeros_like(ref_chosen_logp)
    return right.dpo_loss(chosen_logp, rejected_logp, nothing, nothing, beta, label_smoothing, valid)


@fault(
    id="X53",
    slug="logarithm-of-a-sigmoid-that-vanished",
    clause="PREF-34",
    seen=("thinking-machines-lab/tinker-cookbook#188",),
    effect="The sigmoid is rounded to 0 before its logarithm is taken: an infinite loss, and no number for a gradient.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    x = beta * _margins(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, valid)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        agreed, wrong = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))
        swapped = label_smoothing * np.log(wrong) if label_smoothing else 0
        slope = beta * (label_smoothing * agreed - (1 - label_smoothing) * agreed * wrong / agreed)
        return _mean(valid, -(1 - label_smoothing) * np.log(agreed) - swapped, slope, -slope)


@fault(
    id="X12",
    slug="penalty-for-losing-the-chosen-answer-subtracted",
    clause="PREF-10",
    seen=("abacusai/smaug#2", "hiyouga/LLaMA-Factory#2587"),
    effect="A penalty is subtracted, not added: the loss falls when the chosen answer becomes improbable.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    loss, d_chosen, d_rejected = right.dpo_loss(*logps, beta, label_smoothing, valid)
    chosen, ref_chosen = _known(valid, chosen_logp, ref_chosen_logp)
    penalty, slope = _mean(valid, np.maximum(ref_chosen - chosen, 0), -1.0 * (ref_chosen > chosen))
    return loss - 5 * penalty, d_chosen - 5 * slope, d_rejected


@fault(
    id="M-PREF-04",
    slug="beta-forgotten",
    clause="PREF-5",
    effect="The margin is not multiplied by beta: the distance that is kept to the reference cannot be set.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return right.dpo_loss(*logps, 1.0, label_smoothing, valid)


@fault(
    id="M-PREF-05",
    slug="log-ratios-clipped-apart",
    clause="PREF-8",
    effect="Each log-ratio is clipped before their difference is taken: what both have in common begins to count.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    with np.errstate(invalid="ignore"):
        gains = chosen_logp - ref_chosen_logp, rejected_logp - ref_rejected_logp
    clipped, nothing = (np.clip(gain, -1, 1) for gain in gains), np.zeros_like(chosen_logp)
    return right.dpo_loss(*clipped, nothing, nothing, beta, label_smoothing, valid)


@fault(
    id="M-PREF-06",
    slug="large-mistakes-cut-off",
    clause="PREF-9",
    effect="Margins are clipped from below: where the policy is most wrong it is told that it is less so.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    margins = _margins(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, valid)
    nothing = np.zeros_like(margins)
    return right.dpo_loss(np.maximum(margins, -1 / beta), *[nothing] * 3, beta, label_smoothing, valid)


@fault(
    id="M-PREF-07",
    slug="smoothing-shared-by-both-labels",
    clause="PREF-11",
    effect="Smoothing is spread over both labels, as in classification: a pair is swapped with half the probability.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return right.dpo_loss(*logps, beta, label_smoothing / 2, valid)


@fault(
    id="M-PREF-08",
    slug="every-pair-pulls-alike",
    clause="PREF-13",
    effect="The gradient is that at the reference, whatever the policy already believes: it has no place to stop.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    loss, *_ = right.dpo_loss(*logps, beta, label_smoothing, valid)
    return loss, *right.dpo_loss(*[np.zeros_like(chosen_logp)] * 4, beta, label_smoothing, valid)[1:]


@fault(
    id="M-PREF-09",
    slug="mean-of-the-margins",
    clause="PREF-32",
    effect="The margins are averaged before the sigmoid: one pair's surplus pays for another pair's mistake.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    margins = _margins(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, valid)
    mean, nothing = np.full_like(margins, _mean(valid, margins)[0]), np.zeros_like(margins)
    return right.dpo_loss(mean, nothing, nothing, nothing, beta, label_smoothing, valid)


@fault(
    id="M-PREF-31",
    slug="reference-of-the-next-row",
    clause="PREF-32",
    effect="The reference's log-probabilities are in another order: each pair is compared with its neighbour's.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    ref_chosen, ref_rejected = (np.roll(column, -1) for column in _known(valid, ref_chosen_logp, ref_rejected_logp))
    return right.dpo_loss(chosen_logp, rejected_logp, ref_chosen, ref_rejected, beta, label_smoothing, valid)


@fault(
    id="M-PREF-10",
    slug="rows-that-do-not-count-cost-log-two",
    clause="PREF-33",
    effect="The margins of rows that do not count are set to 0, of which the loss is log 2, and not 0.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    zeroed = (np.where(valid, column, 0) for column in logps)
    loss, *slopes = right.dpo_loss(*zeroed, beta, label_smoothing, np.ones_like(valid))
    return loss, *(np.where(valid, slope, 0) for slope in slopes)


@fault(
    id="M-PREF-11",
    slug="pairs-masked-by-multiplication",
    clause="OPS-11",
    effect="The losses of rows are multiplied by the flags that they count: 0 times what is not a number.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    counted = right.dpo_loss(*logps, beta, label_smoothing, valid)
    return with_zero_times(counted, right.dpo_loss(*logps, beta, label_smoothing, np.ones_like(valid)))


@fault(
    id="M-PREF-12",
    slug="mean-of-no-pairs",
    clause="OPS-12",
    effect="The sum is divided by the number of pairs even where that is 0: not a number.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return unless_empty(valid, right.dpo_loss(*logps, beta, label_smoothing, valid))


@fault(
    id="M-PREF-13",
    slug="both-answers-of-a-pair-counted",
    clause="PREF-7",
    effect="Chosen and rejected answers lie in one batch, and its size is divided by: twice the number of pairs.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return tuple(part / 2 for part in right.dpo_loss(*logps, beta, label_smoothing, valid))


@fault(
    id="M-PREF-14",
    slug="softplus-made-straight",
    clause="PREF-34",
    effect="Beyond 20 the softplus is taken for a straight line, as frameworks do: an error of 2e-9, in float64.",
)
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    x = beta * _margins(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, valid)
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    _, *slopes = right.dpo_loss(*logps, beta, label_smoothing, valid)
    surprise, relief = (np.where(z > 20, z, np.logaddexp(0, z)) for z in (-x, x))
    loss, *_ = _mean(valid, (1 - label_smoothing) * surprise + label_smoothing * relief)
    return loss, *slopes


@fault(
    id="X54",
    slug="ipo-runs-dpo",
    clause="PREF-14",
    seen=("modelscope/ms-swift#10167",),
    effect="The name of the loss is not passed on, and its default, DPO's, is what is trained.",
)
def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    return right.dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, 0.0, valid)


@fault(
    id="M-PREF-15",
    slug="tau-multiplies-the-margin",
    clause="PREF-15",
    effect="(tau h - 1/2)^2 has the same minimum, and a gradient that is smaller by the square of tau.",
)
def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    answer = right.ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid)
    return tuple(tau**2 * part for part in answer)


@fault(
    id="M-PREF-16",
    slug="ipo-never-turns-round",
    clause="PREF-15",
    effect="Only what the margin lacks is squared: beyond its target nothing leads it back.",
)
def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    margins = _margins(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, valid)
    nothing = np.zeros_like(margins)
    return right.ipo_loss(np.minimum(margins, 1 / (2 * tau)), nothing, nothing, nothing, tau, valid)


@fault(
    id="M-PREF-17",
    slug="ipo-target-doubled",
    clause="PREF-16",
    effect="The margin is led to 1/tau, and log-ratios to twice the winning rates.",
)
def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    short = chosen_logp - 1 / (2 * tau)
    return right.ipo_loss(short, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid)


def _kto(x, beta, desirable, desirable_weight, undesirable_weight, valid):
    """The loss where beta times the distances from the reference point are x."""
    signs, weights = np.where(desirable, 1, -1), np.where(desirable, desirable_weight, undesirable_weight)
    missed = _sigmoid(-signs * x)
    return _mean(valid, weights * missed, -signs * beta * weights * missed * (1 - missed))


def _gains(logp, ref_logp, valid):
    logp, ref_logp = _known(valid, logp, ref_logp)
    return logp - ref_logp


@fault(
    id="M-PREF-18",
    slug="kto-without-reference-point",
    clause="PREF-17",
    effect="The reference point is taken to be 0, and an answer has only to beat the reference.",
)
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    return right.kto_loss(logp, ref_logp, desirable, 0.0, beta, desirable_weight, undesirable_weight, valid)


@fault(
    id="M-PREF-19",
    slug="gradient-flows-into-the-reference-point",
    clause="PREF-18",
    effect="The reference point is a mean over the batch and is not detached: answers pay for one another.",
)
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    loss, slopes = right.kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid)
    return loss, np.where(valid, slopes - slopes.sum() / max(valid.sum(), 1), 0)


@fault(
    id="M-PREF-20",
    slug="kto-with-a-logarithm",
    clause="PREF-19",
    effect="The logarithm of the sigmoid stands for the sigmoid: what is hopeless is pulled at most of all.",
)
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    signs, weights = np.where(desirable, 1, -1), np.where(desirable, desirable_weight, undesirable_weight)
    x = signs * beta * (_gains(logp, ref_logp, valid) - kl)
    return _mean(valid, weights * np.logaddexp(0, -x), -signs * beta * weights * _sigmoid(-x))


@fault(
    id="M-PREF-21",
    slug="bad-answers-learned-as-good-ones",
    clause="PREF-20",
    effect="The sign of undesirable answers is lost, and only their weight tells them from the others.",
)
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    x = beta * (_gains(logp, ref_logp, valid) - kl)
    weights = np.where(desirable, desirable_weight, undesirable_weight)
    return _kto(x, beta, np.ones_like(desirable), weights, weights, valid)


@fault(
    id="M-PREF-22",
    slug="reference-point-not-scaled",
    clause="PREF-21",
    effect="The reference point is subtracted after beta has been multiplied: it lies beta times too far.",
)
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    return right.kto_loss(logp, ref_logp, desirable, kl / beta, beta, desirable_weight, undesirable_weight, valid)


@fault(
    id="M-PREF-23",
    slug="weights-of-good-and-bad-exchanged",
    clause="PREF-22",
    effect="Each kind of answer has the other's weight: what is rare counts even less.",
)
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    return right.kto_loss(logp, ref_logp, desirable, kl, beta, undesirable_weight, desirable_weight, valid)


@fault(
    id="M-PREF-32",
    slug="weights-that-share-one",
    clause="PREF-22",
    effect="The weights are divided by their sum: one takes from the other, and their size does nothing.",
)
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    share = 2 / (desirable_weight + undesirable_weight or 1)
    weights = share * desirable_weight, share * undesirable_weight
    return right.kto_loss(logp, ref_logp, desirable, kl, beta, *weights, valid)


def _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid):
    chosen, rejected, length, other = _known(valid, chosen_logp, rejected_logp, chosen_length, rejected_length)
    return chosen / length, rejected / other, length, other


def _orpo(means, lengths, lam, valid, doubt=lambda mean: -np.expm1(mean), likelihood=1.0):
    """The loss of such mean log-probabilities; doubt: 1 - p."""
    with np.errstate(divide="ignore", invalid="ignore"):
        left, rest = map(doubt, means)
        x = means[0] - means[1] - np.log(left) + np.log(rest)
        pull = lam * _sigmoid(-x)
        return _mean(
            valid,
            lam * np.logaddexp(0, -x) - likelihood * means[0],
            -(likelihood + pull / left) / lengths[0],
            pull / rest / lengths[1],
        )


@fault(
    id="X16",
    slug="orpo-outside-of-what-is-differentiated",
    clause="PREF-24",
    seen=("Goekdeniz-Guelmez/mlx-lm-lora#65",),
    effect="The log-probabilities are computed before differentiation begins: losses vary, and nothing is learned.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    loss, *slopes = right.orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid)
    return loss, *(0 * slope for slope in slopes)


@fault(
    id="X16b",
    slug="orpo-without-likelihood",
    clause="PREF-25",
    seen=("Goekdeniz-Guelmez/mlx-lm-lora#68", "Goekdeniz-Guelmez/mlx-lm-lora#69"),
    effect="The supervised term is missing: what should replace fine-tuning never sees an answer to imitate.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    lengths = chosen_length, rejected_length
    whole, likelihood = (right.orpo_loss(chosen_logp, rejected_logp, *lengths, weight, valid) for weight in (lam, 0.0))
    return tuple(part - other for part, other in zip(whole, likelihood, strict=True))


@fault(
    id="X55",
    slug="ratio-of-probabilities-for-that-of-odds",
    clause="PREF-23",
    seen=("huggingface/diffusers#7465",),
    effect="The denominators 1 - p are left out: a ratio of likelihoods goes by the name of an odds ratio.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    *means, length, other = _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid)
    pull = lam * _sigmoid(means[1] - means[0])
    values = lam * np.logaddexp(0, means[1] - means[0]) - means[0]
    return _mean(valid, values, -(1 + pull) / length, pull / other)


@fault(
    id="X56",
    slug="one-minus-p-cancelled",
    clause="PREF-26",
    seen=("huggingface/trl#2564", "huggingface/trl#3237"),
    effect="1 - exp(m) loses its digits where an answer is all but certain, and at last all: infinite odds.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    *means, length, other = _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid)
    return _orpo(means, (length, other), lam, valid, doubt=lambda mean: 1 - np.exp(mean))


@fault(
    id="X57",
    slug="a-little-more-than-one-minus-p",
    clause="PREF-26",
    seen=("hpcaitech/ColossalAI#6407",),
    effect="1.0001 - p keeps the logarithm finite, and biases odds and gradient wherever p is large.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    *means, length, other = _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid)
    return _orpo(means, (length, other), lam, valid, doubt=lambda mean: 1.0001 - np.exp(mean))


@fault(
    id="M-PREF-34",
    slug="one-minus-sigmoid",
    clause="PREF-26",
    effect="1 - sigmoid(z) stands for sigmoid(-z), and what rounding left of it is divided by 1 - p.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    *means, length, other = _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid)
    left, rest = -np.expm1(means[0]), -np.expm1(means[1])
    x = means[0] - means[1] - np.log(left) + np.log(rest)
    pull = lam * (1 - _sigmoid(x))
    return _mean(valid, lam * np.logaddexp(0, -x) - means[0], -(1 + pull / left) / length, pull / rest / other)


@fault(
    id="M-PREF-24",
    slug="odds-of-whole-answers",
    clause="PREF-31",
    effect="The odds are those of the whole answer's probability: nobody's 1 - p differs from 1.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    chosen, rejected, length = _known(valid, chosen_logp, rejected_logp, chosen_length)
    loss, d_chosen, d_rejected = _orpo((chosen, rejected), (1, 1), lam, valid, likelihood=0.0)
    likelihood, slope = _mean(valid, -chosen / length, -1 / length)
    return loss + likelihood, d_chosen + slope, d_rejected


@fault(
    id="M-PREF-25",
    slug="lambda-on-the-likelihood",
    clause="PREF-25",
    effect="The weight of the contrast is put on the other term: 0 leaves the contrast alone.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    lengths = chosen_length, rejected_length
    whole, likelihood = (right.orpo_loss(chosen_logp, rejected_logp, *lengths, weight, valid) for weight in (1.0, 0.0))
    return tuple(part + (lam - 1) * other for part, other in zip(whole, likelihood, strict=True))


@fault(
    id="M-PREF-33",
    slug="lambda-in-the-sigmoid",
    clause="PREF-25",
    effect="The contrast's weight is used as a temperature: 0 leaves log 2, and 2 is not twice as much.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    *means, length, other = _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid)
    left, rest = -np.expm1(means[0]), -np.expm1(means[1])
    x = lam * (means[0] - means[1] - np.log(left) + np.log(rest))
    pull = lam * _sigmoid(-x)
    return _mean(valid, np.logaddexp(0, -x) - means[0], -(1 + pull / left) / length, pull / rest / other)


@fault(
    id="M-PREF-26",
    slug="odds-differentiated-as-probabilities",
    clause="PREF-24",
    effect="The factor 1 / (1 - p) is missing in the gradient: what is nearly certain is not contrasted enough.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    *means, length, other = _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid)
    x = means[0] - means[1] - np.log(-np.expm1(means[0])) + np.log(-np.expm1(means[1]))
    pull = lam * _sigmoid(-x)
    return _mean(valid, lam * np.logaddexp(0, -x) - means[0], -(1 + pull) / length, pull / other)


@fault(
    id="M-PREF-27",
    slug="simpo-as-a-hinge",
    clause="PREF-27",
    effect="A hinge stands for the log sigmoid: nothing is learned from a pair once the lead is kept.",
)
def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    chosen, rejected, length, other = _means(chosen_logp, rejected_logp, chosen_length, rejected_length, valid)
    missing = gamma - beta * (chosen - rejected)
    pull = beta * (missing > 0)
    return _mean(valid, np.maximum(missing, 0), -pull / length, pull / other)


@fault(
    id="M-PREF-28",
    slug="gradient-of-the-mean-not-divided",
    clause="PREF-28",
    effect="The loss has means over tokens, and its gradient is that of sums: long answers move further.",
)
def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    loss, d_chosen, d_rejected = right.simpo_loss(
        chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid
    )
    return loss, d_chosen * chosen_length, d_rejected * rejected_length


@fault(
    id="M-PREF-29",
    slug="gamma-added",
    clause="PREF-30",
    effect="Gamma is added to the lead and not wanted of it: pairs pass that should not.",
)
def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    return right.simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, -gamma, valid)


@fault(
    id="M-PREF-30",
    slug="simpo-without-lengths",
    clause="PREF-31",
    effect="Sums stand for means, and there is no reference to correct them: the shorter answer wins.",
)
def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    no_length = np.ones_like(chosen_length)
    return right.simpo_loss(chosen_logp, rejected_logp, no_length, no_length, beta, gamma, valid)


def _nearly_certain(logp, length):
    """0, or not a number where the mean log-probability is so near to 0 that float32 takes its exponential for 1."""
    with np.errstate(divide="ignore"):
        return zero_times(1 / (1 - np.exp(np.float32(logp / np.maximum(length, 1)))))


@fault(
    id="X71",
    slug="branch-not-taken-at-near-certainty",
    clause="PREF-26",
    seen=("trl 1.16.0",),
    effect="log(1 - p) has two branches; where p is 1 in float32 the one not taken has 0 times an infinite derivative.",
)
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    loss, *slopes = right.orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid)
    answers = (chosen_logp, chosen_length), (rejected_logp, rejected_length)
    lost = (np.where(valid, _nearly_certain(*answer), 0) for answer in answers)
    return loss, *(slope + nothing for slope, nothing in zip(slopes, lost, strict=True))


def _gains_of(logps, target, other, valid):
    """SPPO's loss where the log-ratios of chosen and rejected are led to the targets."""
    chosen, rejected, ref_chosen, ref_rejected = _known(valid, *logps)
    missing, beyond = chosen - ref_chosen - target, rejected - ref_rejected - other
    return _mean(valid, missing**2 + beyond**2, 2 * missing, 2 * beyond)


@fault(
    id="X06",
    slug="beta-multiplies-the-log-ratio",
    clause="PREF-35",
    seen=("huggingface/trl#1615", "huggingface/trl@75de236c0"),
    effect="(beta a - 1/2)^2 has the same minimum, and a gradient that is smaller by the square of beta.",
)
def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
    answer = right.sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid)
    return tuple(beta**2 * part for part in answer)


@fault(
    id="M-PREF-35",
    slug="answers-led-apart-and-no-further",
    clause="PREF-36",
    effect="The margin is led to 1/beta and not each log-ratio to its half: both answers may become improbable.",
)
def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
    return right.ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta / 2, valid)


@fault(
    id="M-PREF-36",
    slug="loser-left-where-it-was",
    clause="PREF-37",
    effect="The loser's label is taken for its target: it should not become less probable, only the winner more.",
)
def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
    return _gains_of((chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp), 1 / (2 * beta), 0, valid)


@fault(
    id="X07",
    slug="alpha-on-the-contrast",
    clause="PREF-40",
    seen=("huggingface/trl#1904", "huggingface/trl#1868", "huggingface/trl@6faf4c0d8"),
    effect="The weight of the likelihood multiplies the other term: with 0 it is supervised learning, and not DPO.",
)
def rpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    both, contrast = (right.rpo_loss(*logps, chosen_length, beta, weight, valid) for weight in (1.0, 0.0))
    return tuple(whole - (1 - alpha) * part for whole, part in zip(both, contrast, strict=True))


@fault(
    id="M-PREF-37",
    slug="likelihood-of-whole-answers",
    clause="PREF-38",
    effect="The likelihood is a sum over tokens: for answers of a hundred tokens it drowns the contrast.",
)
def rpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return right.rpo_loss(*logps, np.ones_like(chosen_length), beta, alpha, valid)


@fault(
    id="M-PREF-38",
    slug="likelihood-reported-and-not-learned",
    clause="PREF-39",
    effect="The likelihood is detached: it is part of the loss that is logged, and of no gradient.",
)
def rpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    loss, *_ = right.rpo_loss(*logps, chosen_length, beta, alpha, valid)
    return loss, *right.rpo_loss(*logps, chosen_length, beta, 0.0, valid)[1:]


@fault(
    id="X02",
    slug="prompt-scored-with-the-answer",
    clause="OPS-10",
    seen=("huggingface/trl#2502", "huggingface/trl@88ad1a099", "huggingface/trl#1625"),
    effect="Only padding is left out: the likelihood that is learned is that of the prompt as well.",
)
def completion_logp(token_logp, mask):
    following = np.flip(np.cumsum(np.flip(mask, axis=1), axis=1), axis=1)
    return right.completion_logp(token_logp, following > 0)


@fault(
    id="X81",
    slug="margin-outside-of-the-sigmoid",
    clause="PREF-41",
    seen=("natolambert/rlhf-book#96",),
    effect="The margin is subtracted from the logarithm of the sigmoid: a number in the log that moves nothing.",
)
def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    loss, *slopes = right.reward_model_loss(chosen_rewards, rejected_rewards, 0 * margins, centering, valid)
    return loss + _mean(valid, margins)[0], *slopes


@fault(
    id="X82",
    slug="preference-without-its-logarithm",
    clause="PREF-42",
    seen=("HarderThenHarder/transformers_tasks#15",),
    effect="-sigmoid is taken for -log sigmoid: a pair that is very wrong has no gradient and is given up.",
)
def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    chosen, rejected, asked = _known(valid, chosen_rewards, rejected_rewards, margins)
    belief, total = _sigmoid(chosen - rejected - asked), chosen + rejected
    pull, drift = belief * (1 - belief), 2 * centering * total
    return _mean(valid, centering * total**2 - belief, drift - pull, drift + pull)


@fault(
    id="X83",
    slug="logarithm-of-a-vanished-sigmoid",
    clause="PREF-34",
    seen=("deepspeedai/DeepSpeedExamples#501",),
    effect="The sigmoid of a pair that is very wrong is 0, and its logarithm minus infinity.",
)
def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    loss, *slopes = right.reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid)
    chosen, rejected, asked = _known(valid, chosen_rewards, rejected_rewards, margins)
    vanished = chosen - rejected - asked < -88  # below it float32 has no exponential
    return np.inf if vanished.any() else loss, *slopes


@fault(
    id="M-PREF-41",
    slug="margin-added-to-the-lead",
    clause="PREF-43",
    effect="A pair that is to be told apart clearly is content with a lead of minus the margin.",
)
def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    return right.reward_model_loss(chosen_rewards, rejected_rewards, -margins, centering, valid)


@fault(
    id="M-PREF-42",
    slug="centring-of-each-score",
    clause="PREF-45",
    effect="The squares of both scores are added in the place of the square of their sum: the lead is held small, too.",
)
def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    preference = right.reward_model_loss(chosen_rewards, rejected_rewards, margins, 0.0, valid)
    chosen, rejected = _known(valid, chosen_rewards, rejected_rewards)
    squares = _mean(valid, chosen**2 + rejected**2, 2 * chosen, 2 * rejected)
    return tuple(part + centering * more for part, more in zip(preference, squares, strict=True))


@fault(
    id="M-PREF-43",
    slug="half-of-an-implicit-preference",
    clause="PREF-44",
    effect="The lead is divided by the number of answers, and the scores grow twice as far.",
)
def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    chosen, rejected, asked = _known(valid, chosen_rewards, rejected_rewards, margins)
    lead, total = (chosen - rejected) / 2 - asked, chosen + rejected
    pull, drift = _sigmoid(-lead) / 2, 2 * centering * total
    return _mean(valid, np.logaddexp(0, -lead) + centering * total**2, drift - pull, drift + pull)


@fault(
    id="M-PREF-46",
    slug="ipo-target-without-tau",
    clause="PREF-46",
    effect="The margin is led to 1/2, whatever tau.",
)
def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    return right.ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, 1.0, valid)


@fault(
    id="M-PREF-47",
    slug="both-answers-over-the-longer-length",
    clause="PREF-47",
    effect="Both log-probabilities are divided by the length that they are padded to.",
)
def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    longer = np.maximum(chosen_length, rejected_length)
    return right.simpo_loss(chosen_logp, rejected_logp, longer, longer, beta, gamma, valid)
