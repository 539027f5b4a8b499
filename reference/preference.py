"""Preferences: which of two completions is better, and the losses that turn it into credit for both.

Every loss here is a sum over pairs, or over single completions, of a function of one number; what is the loss's own is
that function and its derivative (the `of_pair` in each), and the rest is shared.  exp, log and expm1 are those of
`functions`: the module math, flint's class arb, or anything else that has them for the numbers at hand.

chosen_logp, rejected_logp: [B], the log-probabilities of whole completions y_w and y_l under the trained policy; with
ref, under the reference.  chosen_length, rejected_length: [B], in tokens.  valid: [B], which pairs count.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from .choices import one_of
from .language import Gradient, Language, Policy, Tokens, expected_gradient, probability
from .linear_algebra import Number, Vector
from .reductions import divisors, reduced

Worth = Callable[[int, Tokens], Number]
Term = Callable[..., tuple[Number, ...]]


def tilted(language: Language, reference: Policy, worth: Worth) -> Policy:
    """pi*(y|x) = ref(y|x) worth(x, y) / Z(x), as a policy over tokens (PREF-1).

    worth: exp(r(x, y) / beta), positive.  A token's probability is the share of what follows it:
    pi*(y_t | x, y_<t) = sum_{y begins with y_<=t} ref(y|x) worth(x, y) / sum_{y begins with y_<t} ref(y|x) worth(x, y).
    Rafailov et al. (2023), eq. 4.

    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> tilted(short, {(0, ()): [0.5, 0.5]}, lambda prompt, tokens: 1 + 2 * tokens[0])
    {(0, ()): [0.25, 0.75]}
    """

    def mass(prompt: int, begun: Tokens) -> Number:
        return sum(probability(reference, prompt, y) * worth(prompt, y) for y in language.completions(prompt, begun))

    return {
        (prompt, begun): [mass(prompt, (*begun, token)) / mass(prompt, begun) for token in range(language.vocabulary)]
        for prompt, begun in language.contexts()
    }


def preferred(worth: Number, other: Number) -> Number:
    """sigmoid(r - r') = worth / (worth + other), with worth = exp(r): how often the one is preferred to the other.

    Bradley & Terry (1952).

    >>> preferred(3, 1)
    0.75
    """
    return worth / (worth + other)


def implicit_worth(policy: Policy, reference: Policy, beta: int, prompt: int, tokens: Tokens) -> Number:
    """(pi(y|x) / ref(y|x))^beta, the exponential of the reward that a policy stands for (PREF-2).

    >>> implicit_worth({(0, ()): [0.75, 0.25]}, {(0, ()): [0.5, 0.5]}, 1, 0, (0,))
    1.5
    """
    return (probability(policy, prompt, tokens) / probability(reference, prompt, tokens)) ** beta


def population_gradient(
    language: Language, policy: Policy, reference: Policy, beta: int, worth: Worth, speaker: Policy
) -> Gradient:
    """grad E[-log sigmoid(beta h)], with respect to the logits of every context (PREF-3).

    Both completions of a pair are the speaker's, and worth says how often each is preferred.  As p(y, y') +
    p(y', y) = 1, the derivative with respect to log pi(y) is -2 beta mu(y) sum_y' mu(y') (p(y, y') - q(y, y')), where q
    is what the policy believes.
    """

    def pull(prompt: int, tokens: Tokens) -> Number:
        def surprise(other: Tokens) -> Number:
            believed = (implicit_worth(policy, reference, beta, prompt, y) for y in (tokens, other))
            return preferred(worth(prompt, tokens), worth(prompt, other)) - preferred(*believed)

        rivals = language.completions(prompt)
        return -2 * beta * sum(probability(speaker, prompt, other) * surprise(other) for other in rivals)

    return expected_gradient(language, policy, lambda prompt, tokens: [pull(prompt, tokens)] * len(tokens), speaker)


def softplus(x: Number, functions: Any = math) -> Number:
    """-log sigmoid(-x) = log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), in which no exponential is large.

    >>> round(softplus(0), 3), softplus(1000), softplus(-1000)
    (0.693, 1000.0, 0.0)
    """
    return max(x, 0) + functions.log(1 + functions.exp(-abs(x)))


def sigmoid(x: Number, functions: Any = math) -> Number:
    """1 / (1 + e^-x), the derivative of softplus.

    >>> sigmoid(0), sigmoid(1000), sigmoid(-1000)
    (0.5, 1.0, 0.0)
    """
    small = functions.exp(-abs(x))
    return (1 if x >= 0 else small) / (1 + small)


def completion_logp(token_logp: Vector, mask: Sequence[Any]) -> Number:
    """log pi(y|x) = sum_t log pi(y_t | x, y_<t), over the tokens where the mask is set (PREF-4).

    token_logp, mask: [T], of one completion.

    >>> completion_logp([-1, -2, -4], [1, 0, 1])
    -5
    """
    return sum(logp for logp, counts in zip(token_logp, mask, strict=True) if counts)


def dpo_loss(
    chosen_logp: Vector,
    rejected_logp: Vector,
    ref_chosen_logp: Vector,
    ref_rejected_logp: Vector,
    beta: Number,
    label_smoothing: Number,
    valid: Sequence[Any],
    noise: str = "conservative",
    functions: Any = math,
    **reduction: str,
) -> tuple[Number, ...]:
    """-log sigmoid(beta h) with h = log pi(y_w) / ref(y_w) - log pi(y_l) / ref(y_l), smoothed (PREF-5, PREF-11).

    chosen_logp, ...: [B].  valid: which pairs count.  noise: PREF-12.  reduction: its choices, reduction and empty_rows
    (RED-11).
    Returns the loss, its derivatives in chosen_logp and in rejected_logp, [B].  Rafailov et al. (2023), eq. 7.

    >>> loss, d_chosen, d_rejected = dpo_loss([-3], [-4], [-3], [-4], 2, 0, [1])
    >>> round(loss, 3), d_chosen, d_rejected
    (0.693, [-1.0], [1.0])
    """
    right, wrong = smoothed(label_smoothing, noise)

    def of_pair(chosen: Number, rejected: Number, ref_chosen: Number, ref_rejected: Number) -> tuple[Number, ...]:
        x = beta * margin(chosen, rejected, ref_chosen, ref_rejected)
        slope = beta * (wrong * sigmoid(x, functions) - right * sigmoid(-x, functions))
        return right * softplus(-x, functions) + wrong * softplus(x, functions), slope, -slope

    return _reduced(of_pair, (chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp), valid, 2, **reduction)


def smoothed(label_smoothing: Number, noise: str = "conservative") -> tuple[Number, Number]:
    """The weights of a pair and of the swapped pair in the loss of a pair whose label may be wrong (PREF-12).

    The mean loss of noisy labels, or what has the true label's loss as its mean: with e for label_smoothing,
    (1 - e, e), or (1 - e, -e) / (1 - 2 e).

    >>> smoothed(0.25), smoothed(0.25, "robust")
    ((0.75, 0.25), (1.5, -0.5))
    """
    e = label_smoothing
    weights: dict[str, Callable[[], tuple[Number, Number]]] = {
        "conservative": lambda: (1 - e, e),
        "robust": lambda: ((1 - e) / (1 - 2 * e), -e / (1 - 2 * e)),
    }
    return one_of(weights, noise)()


def margin(chosen: Number, rejected: Number, ref_chosen: Number, ref_rejected: Number) -> Number:
    """h: by how much the policy's log-ratio to the reference is greater for the chosen completion.

    >>> margin(-3, -5, -4, -4)
    2
    """
    return (chosen - ref_chosen) - (rejected - ref_rejected)


def ipo_loss(
    chosen_logp: Vector,
    rejected_logp: Vector,
    ref_chosen_logp: Vector,
    ref_rejected_logp: Vector,
    tau: Number,
    valid: Sequence[Any],
    **reduction: str,
) -> tuple[Number, ...]:
    """(h - 1 / (2 tau))^2, h as in `dpo_loss` (PREF-14).

    Returns the loss, its derivatives in chosen_logp and in rejected_logp, [B].  Azar et al. (2023), eq. 17.

    >>> ipo_loss([-3], [-2], [-4], [-5], 0.25, [1])
    (16.0, [-8.0], [8.0])
    """

    def of_pair(chosen: Number, rejected: Number, ref_chosen: Number, ref_rejected: Number) -> tuple[Number, ...]:
        missing = margin(chosen, rejected, ref_chosen, ref_rejected) - 1 / (2 * tau)
        return missing**2, 2 * missing, -2 * missing

    return _reduced(of_pair, (chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp), valid, 2, **reduction)


def kto_loss(
    logp: Vector,
    ref_logp: Vector,
    desirable: Sequence[Any],
    kl: Number,
    beta: Number,
    desirable_weight: Number,
    undesirable_weight: Number,
    valid: Sequence[Any],
    functions: Any = math,
    **reduction: str,
) -> tuple[Number, ...]:
    """w (1 - sigmoid(s beta (log pi(y) / ref(y) - kl))), s = 1 for the desirable and -1 for the others (PREF-17).

    logp, ref_logp, desirable, valid: [B].  Returns the loss and its derivative in logp, [B].
    Ethayarajh et al. (2024), section 4.

    >>> kto_loss([-3, -3], [-3, -3], [1, 0], 0, 2, 1, 4, [1, 1])
    (1.25, [-0.25, 1.0])
    """

    def of_completion(logp: Number, ref_logp: Number, good: Any) -> tuple[Number, ...]:
        weight, sign = (desirable_weight, 1) if good else (undesirable_weight, -1)
        x = sign * beta * (logp - ref_logp - kl)
        missed = sigmoid(-x, functions)
        return weight * missed, -sign * weight * beta * missed * sigmoid(x, functions)

    return _reduced(of_completion, (logp, ref_logp, desirable), valid, 1, **reduction)


def orpo_loss(
    chosen_logp: Vector,
    rejected_logp: Vector,
    chosen_length: Sequence[int],
    rejected_length: Sequence[int],
    lam: Number,
    valid: Sequence[Any],
    likelihood: str = "mean of means",
    functions: Any = math,
    **reduction: str,
) -> tuple[Number, ...]:
    """Negative log-likelihood of the chosen, plus lam times -log sigmoid of the log odds ratio (PREF-23).

    The odds p / (1 - p) are of p = exp(log pi(y) / |y|).  likelihood: whether the first term is a mean over tokens
    (RED-12).  Returns the loss, its derivatives in chosen_logp and in rejected_logp, [B].
    Hong et al. (2024), eqs. 3, 4, 6 and 7.

    >>> loss, d_chosen, d_rejected = orpo_loss([-2], [-2], [1], [1], 0, [1])
    >>> loss, d_chosen, d_rejected
    (2.0, [-1.0], [0.0])
    """
    of_a_token = _of_a_token(likelihood, chosen_length, valid, **reduction)

    def of_pair(chosen: Number, rejected: Number, length: int, other: int) -> tuple[Number, ...]:
        means = chosen / length, rejected / other
        left = [-functions.expm1(mean) for mean in means]  # 1 - p
        x = (means[0] - means[1]) - (functions.log(left[0]) - functions.log(left[1]))
        pull = lam * sigmoid(-x, functions)
        share = of_a_token(length)
        value = lam * softplus(-x, functions) - share * chosen
        return value, -share - pull / left[0] / length, pull / left[1] / other

    return _reduced(of_pair, (chosen_logp, rejected_logp, chosen_length, rejected_length), valid, 2, **reduction)


def simpo_loss(
    chosen_logp: Vector,
    rejected_logp: Vector,
    chosen_length: Sequence[int],
    rejected_length: Sequence[int],
    beta: Number,
    gamma: Number,
    valid: Sequence[Any],
    target: str = "gamma",
    functions: Any = math,
    **reduction: str,
) -> tuple[Number, ...]:
    """-log sigmoid(beta (log pi(y_w) / |y_w| - log pi(y_l) / |y_l|) - gamma) (PREF-27).

    target: what is subtracted, gamma or beta times gamma (PREF-29).
    Returns the loss, its derivatives in chosen_logp and in rejected_logp, [B].  Meng et al. (2024), eq. 6.

    >>> loss, d_chosen, d_rejected = simpo_loss([-4], [-2], [2], [1], 1, 0, [1])
    >>> round(loss, 3), d_chosen, d_rejected
    (0.693, [-0.25], [0.5])
    """
    wanted = one_of({"gamma": gamma, "beta gamma": beta * gamma}, target)

    def of_pair(chosen: Number, rejected: Number, length: int, other: int) -> tuple[Number, ...]:
        x = beta * (chosen / length - rejected / other) - wanted
        slope = -beta * sigmoid(-x, functions)
        return softplus(-x, functions), slope / length, -slope / other

    return _reduced(of_pair, (chosen_logp, rejected_logp, chosen_length, rejected_length), valid, 2, **reduction)


def sppo_loss(
    chosen_logp: Vector,
    rejected_logp: Vector,
    ref_chosen_logp: Vector,
    ref_rejected_logp: Vector,
    beta: Number,
    valid: Sequence[Any],
    **reduction: str,
) -> tuple[Number, ...]:
    """(a - 1 / (2 beta))^2 + (b + 1 / (2 beta))^2, with a and b the log-ratios to the reference (PREF-35).

    Returns the loss, its derivatives in chosen_logp and in rejected_logp, [B].  Wu et al. (2024), eq. 4.7, with the
    labels 1 and 0 for the probabilities and 1 / beta for eta.

    >>> sppo_loss([-3], [-2], [-4], [-5], 0.25, [1])
    (26.0, [-2.0], [10.0])
    """

    def of_pair(chosen: Number, rejected: Number, ref_chosen: Number, ref_rejected: Number) -> tuple[Number, ...]:
        missing = (chosen - ref_chosen) - 1 / (2 * beta)
        beyond = (rejected - ref_rejected) + 1 / (2 * beta)
        return missing**2 + beyond**2, 2 * missing, 2 * beyond

    return _reduced(of_pair, (chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp), valid, 2, **reduction)


def rpo_loss(
    chosen_logp: Vector,
    rejected_logp: Vector,
    ref_chosen_logp: Vector,
    ref_rejected_logp: Vector,
    chosen_length: Sequence[int],
    beta: Number,
    alpha: Number,
    valid: Sequence[Any],
    likelihood: str = "mean of means",
    functions: Any = math,
    **reduction: str,
) -> tuple[Number, ...]:
    """-log sigmoid(beta h), as in `dpo_loss`, minus alpha times log pi(y_w) / |y_w| (PREF-38).

    likelihood: whether the second term is a mean over tokens (RED-12).
    Returns the loss, its derivatives in chosen_logp and in rejected_logp, [B].  Pang et al. (2024).

    >>> loss, d_chosen, d_rejected = rpo_loss([-3], [-4], [-3], [-4], [2], 2, 1, [1])
    >>> round(loss, 3), d_chosen, d_rejected
    (2.193, [-1.5], [1.0])
    """
    of_a_token = _of_a_token(likelihood, chosen_length, valid, **reduction)

    def of_pair(
        chosen: Number, rejected: Number, ref_chosen: Number, ref_rejected: Number, length: int
    ) -> tuple[Number, ...]:
        x = beta * margin(chosen, rejected, ref_chosen, ref_rejected)
        pull = beta * sigmoid(-x, functions)
        share = alpha * of_a_token(length)
        return softplus(-x, functions) - share * chosen, -pull - share, pull

    columns = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length
    return _reduced(of_pair, columns, valid, 2, **reduction)


def reward_model_loss(
    chosen_rewards: Vector,
    rejected_rewards: Vector,
    margins: Vector,
    centering: Number,
    valid: Sequence[Any],
    functions: Any = math,
    **reduction: str,
) -> tuple[Number, ...]:
    """-log sigmoid(r_w - r_l - m) + centering (r_w + r_l)^2, of a reward model's scores of two answers (PREF-41).

    chosen_rewards, rejected_rewards, margins, valid: [B].  centering: 0 or more.
    Returns the loss, its derivatives in chosen_rewards and in rejected_rewards, [B].
    Touvron et al. (2023), eq. 2; Eisenstein et al. (2023), eq. 2.

    >>> loss, d_chosen, d_rejected = reward_model_loss([2], [1], [1], 0.5, [1])
    >>> round(loss, 3), d_chosen, d_rejected
    (5.193, [2.5], [3.5])
    """

    def of_pair(chosen: Number, rejected: Number, margin: Number) -> tuple[Number, ...]:
        lead, total = chosen - rejected - margin, chosen + rejected
        pull, drift = sigmoid(-lead, functions), 2 * centering * total
        return softplus(-lead, functions) + centering * total**2, drift - pull, drift + pull

    return _reduced(of_pair, (chosen_rewards, rejected_rewards, margins), valid, 2, **reduction)


def _of_a_token(
    likelihood: str, lengths: Sequence[int], valid: Sequence[Any], **reduction: str
) -> Callable[[int], Number]:
    """What the log-probability of an answer of some length is multiplied with, before the pairs are reduced (RED-12).

    For a mean over tokens it makes up for the number of pairs that is divided by then.
    """
    tokens = sum(length for length, counts in zip(lengths, valid, strict=True) if counts)
    pairs = _divisors(valid, **reduction)[0]
    of_a_token: dict[str, Callable[[int], Number]] = {
        "mean of means": lambda length: 1 / length,
        "token-mean": lambda length: pairs / tokens,
    }
    return one_of(of_a_token, likelihood)


def _divisors(valid: Sequence[Any], reduction: str = "mean of sums", empty_rows: str = "left out") -> list[Number]:
    return divisors([[counts] for counts in valid], reduction, empty_rows)


def _reduced(
    of_row: Term, columns: Sequence[Vector], valid: Sequence[Any], slopes: int, **reduction: str
) -> tuple[Number, ...]:
    """The reduction of the first of a row's numbers, and each row's share of it in the others: 0 if it does not count.

    of_row: a row's value and its derivatives, so many as `slopes` says; it is not asked about rows that do not count.
    """

    def term(row: int, _: int) -> tuple[Number, ...]:
        return of_row(*(column[row] for column in columns))

    sizes = _divisors(valid, **reduction)
    loss, *tables = reduced(term, [[counts] for counts in valid], sizes, slopes)
    return loss, *([slope for [slope] in table] for table in tables)
