"""Ways to compute losses on preferences."""

import numpy as np
import torch
from torch.nn import functional

from .catalogue import way
from .reductions import rows_of
from .tensors import differentiated, leaves, tensors


def size_of(choices, valid):
    """What a sum over the pairs that count is divided by."""
    return 1 if choices["reduction"] == "sum" else rows_of(choices, valid)


def labels(choices, label_smoothing):
    """How much a pair and the swapped pair weigh."""
    if choices["noise"] == "robust":
        return (1 - label_smoothing) / (1 - 2 * label_smoothing), -label_smoothing / (1 - 2 * label_smoothing)
    return 1 - label_smoothing, label_smoothing


def with_slopes(style, choices, valid, losses, *slopes):
    """Losses of pairs, reduced, and their derivatives."""
    return style.mean(valid, size_of(choices, valid), losses, *slopes)


def by_autograd(choices, valid, losses, *whole):
    """Losses of the pairs that count, reduced, and their derivatives by torch."""
    return differentiated(losses.sum() / size_of(choices, valid), *whole)


def counted(style, valid, wrt, *columns):
    """Columns as tensors of what counts; the first few whole as well, to differentiate with respect to."""
    whole = leaves(style, *columns[:wrt])
    counts = torch.from_numpy(np.array(valid))
    return [column[counts] for column in [*whole, *tensors(style, *columns[wrt:])]], whole


def clean(style, valid, *columns):
    """Columns with a harmless number where nothing counts."""
    return [np.where(valid, column, column.dtype.type(1)).astype(style.dtype) for column in columns]


@way("one softplus for each label, the derivative by hand")
def dpo_loss(
    style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid
):
    columns = clean(style, valid, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)
    chosen, rejected, ref_chosen, ref_rejected = columns
    lead = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    right, wrong = map(style.dtype, labels(choices, label_smoothing))
    slopes = beta * (wrong * style.expit(lead) - right * style.expit(-lead))
    losses = right * style.log1pexp(-lead) + wrong * style.log1pexp(lead)
    return with_slopes(style, choices, valid, losses, slopes, -slopes)


@way("two rewards, by torch")
def dpo_loss(
    style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid
):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    (chosen, rejected, ref_chosen, ref_rejected), whole = counted(style, valid, 2, *logps)
    lead = beta * (chosen - ref_chosen) - beta * (rejected - ref_rejected)
    right, wrong = labels(choices, label_smoothing)
    losses = -right * functional.logsigmoid(lead) - wrong * functional.logsigmoid(-lead)
    return by_autograd(choices, valid, losses, *whole)


@way("squares, the derivative by hand")
def ipo_loss(style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    columns = clean(style, valid, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)
    chosen, rejected, ref_chosen, ref_rejected = columns
    missing = (chosen - ref_chosen) - (rejected - ref_rejected) - style.dtype(0.5) / style.dtype(tau)
    return with_slopes(style, choices, valid, missing * missing, 2 * missing, -2 * missing)


@way("squares, by torch")
def ipo_loss(style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    (chosen, rejected, ref_chosen, ref_rejected), whole = counted(style, valid, 2, *logps)
    losses = ((chosen - rejected) - (ref_chosen - ref_rejected) - 1 / (2 * tau)) ** 2
    return by_autograd(choices, valid, losses, *whole)


@way("one formula with a sign, the derivative by hand")
def kto_loss(style, choices, logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    policy, reference = clean(style, valid, logp, ref_logp)
    sign = np.where(desirable, style.dtype(1), style.dtype(-1))
    weight = np.where(desirable, style.dtype(desirable_weight), style.dtype(undesirable_weight))
    gain = beta * sign * (policy - reference - kl)
    missed = style.expit(-gain)
    return with_slopes(style, choices, valid, weight * missed, -sign * weight * beta * missed * style.expit(gain))


@way("the two kinds apart, by torch")
def kto_loss(style, choices, logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    (policy, reference, good), whole = counted(style, valid, 1, logp, ref_logp, np.array(desirable))
    log_ratio = policy - reference
    liked = desirable_weight * torch.sigmoid(beta * (kl - log_ratio[good]))
    disliked = undesirable_weight * torch.sigmoid(beta * (log_ratio[~good] - kl))
    return by_autograd(choices, valid, torch.cat([liked, disliked]), *whole)


@way("by hyperbolic tangents")
def kto_loss(style, choices, logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    policy, reference = clean(style, valid, logp, ref_logp)
    sign = np.where(desirable, style.dtype(1), style.dtype(-1))
    weight = np.where(desirable, style.dtype(desirable_weight), style.dtype(undesirable_weight))
    value = np.tanh(style.dtype(beta) / 2 * (policy - reference - kl))
    losses, slopes = weight * (1 - sign * value) / 2, -sign * weight * beta * (1 - value) * (1 + value) / 4
    return with_slopes(style, choices, valid, losses, slopes)


def log_complement(mean):
    """log(1 - exp(mean)) of a negative number."""
    return np.where(mean > -0.7, np.log(-np.expm1(mean)), np.log1p(-np.exp(mean)))


def with_likelihood(style, choices, valid, losses, slopes, chosen, length, weight):
    """A contrast, and so many times the negative log-likelihood of the chosen; derivatives in chosen and rejected."""
    size = size_of(choices, valid)
    loss, up, down = style.mean(valid, size, losses, *slopes)
    if choices["likelihood"] == "token-mean":
        sizes = np.full(len(valid), max(float(style.whole(np.where(valid, length, 0))), 1))
    else:
        sizes = np.asarray(length, style.dtype) * size
    surprise, slope = style.mean(valid, sizes, -weight * chosen, np.full_like(chosen, -weight))
    return loss + surprise, up + slope, down


@way("log-odds from complements, the derivative by hand")
def orpo_loss(style, choices, chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    columns = clean(style, valid, chosen_logp, rejected_logp, chosen_length, rejected_length)
    chosen, rejected, length, other = columns
    good, bad = (np.where(valid, logp / size, style.dtype(-1)) for logp, size in ((chosen, length), (rejected, other)))
    lead = (good - log_complement(good)) - (bad - log_complement(bad))
    pull = lam * style.expit(-lead)
    slopes = pull / (length * np.expm1(good)), -pull / (other * np.expm1(bad))
    losses = lam * style.log1pexp(-lead)
    return with_likelihood(style, choices, valid, losses, slopes, chosen, length, style.dtype(1))


@way("log-odds, by torch")
def orpo_loss(style, choices, chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    columns = chosen_logp, rejected_logp, chosen_length, rejected_length
    (chosen, rejected, length, other), whole = counted(style, valid, 2, *columns)
    odds = [mean - torch.log(-torch.expm1(mean)) for mean in (chosen / length, rejected / other)]
    contrast = -lam * functional.logsigmoid(odds[0] - odds[1])
    return likely(choices, valid, contrast, chosen, length, 1, whole)


def likely(choices, valid, contrast, chosen, length, weight, whole):
    """The same by torch."""
    size = size_of(choices, valid)
    tokens = length * size if choices["likelihood"] == "mean of means" else length.sum().clamp(min=1)
    return differentiated(contrast.sum() / size - weight * (chosen / tokens).sum(), *whole)


@way("a softplus of what is lacking, the derivative by hand")
def simpo_loss(style, choices, chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    columns = clean(style, valid, chosen_logp, rejected_logp, chosen_length, rejected_length)
    chosen, rejected, length, other = columns
    wanted = style.dtype(gamma if choices["target"] == "gamma" else beta * gamma)
    lacking = wanted - beta * (chosen / length - rejected / other)
    pull = beta * style.expit(lacking)
    return with_slopes(style, choices, valid, style.log1pexp(lacking), -pull / length, pull / other)


@way("by torch")
def simpo_loss(style, choices, chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    columns = chosen_logp, rejected_logp, chosen_length, rejected_length
    (chosen, rejected, length, other), whole = counted(style, valid, 2, *columns)
    lead = chosen / length - rejected / other
    ahead = beta * lead - gamma if choices["target"] == "gamma" else beta * (lead - gamma)
    return by_autograd(choices, valid, -functional.logsigmoid(ahead), *whole)


@way("two squares, the derivative by hand")
def sppo_loss(style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
    columns = clean(style, valid, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)
    chosen, rejected, ref_chosen, ref_rejected = columns
    target = style.dtype(0.5) / style.dtype(beta)
    missing, beyond = chosen - ref_chosen - target, rejected - ref_rejected + target
    return with_slopes(style, choices, valid, missing**2 + beyond**2, 2 * missing, 2 * beyond)


@way("two squares, by torch")
def sppo_loss(style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    (chosen, rejected, ref_chosen, ref_rejected), whole = counted(style, valid, 2, *logps)
    losses = (chosen - ref_chosen - 0.5 / beta).square() + (rejected - ref_rejected + 0.5 / beta).square()
    return by_autograd(choices, valid, losses, *whole)


@way("a softplus and a likelihood, the derivative by hand")
def rpo_loss(
    style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid
):
    columns = clean(style, valid, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length)
    chosen, rejected, ref_chosen, ref_rejected, length = columns
    lead = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
    pull = beta * style.expit(-lead)
    slopes = -pull, pull
    return with_likelihood(style, choices, valid, style.log1pexp(-lead), slopes, chosen, length, style.dtype(alpha))


@way("by torch")
def rpo_loss(
    style, choices, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid
):
    columns = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length
    (chosen, rejected, ref_chosen, ref_rejected, length), whole = counted(style, valid, 2, *columns)
    contrast = -functional.logsigmoid(beta * (chosen - rejected - ref_chosen + ref_rejected))
    return likely(choices, valid, contrast, chosen, length, alpha, whole)


@way("a softplus and a square, the derivative by hand")
def reward_model_loss(style, choices, chosen_rewards, rejected_rewards, margins, centering, valid):
    chosen, rejected, asked = clean(style, valid, chosen_rewards, rejected_rewards, margins)
    lacking, total = asked - (chosen - rejected), chosen + rejected
    pull, drift = style.expit(lacking), 2 * style.dtype(centering) * total
    losses = style.log1pexp(lacking) + style.dtype(centering) * total * total
    return with_slopes(style, choices, valid, losses, drift - pull, drift + pull)


@way("two terms, by torch")
def reward_model_loss(style, choices, chosen_rewards, rejected_rewards, margins, centering, valid):
    columns = chosen_rewards, rejected_rewards, margins
    (chosen, rejected, asked), whole = counted(style, valid, 2, *columns)
    losses = centering * (chosen + rejected) ** 2 - functional.logsigmoid(chosen - rejected - asked)
    return by_autograd(choices, valid, losses, *whole)
