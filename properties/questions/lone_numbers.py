"""Questions in which the number of one convention shows alone.

Whether a logarithm is clamped, and at which number, is told by one token that has gone far, or by a few rows of them.
Beside a term of the size exp(x) rounding hides whatever is smaller than that by its last digits.  So that a ratio
counts as exp(C) at most is told by one whose logarithm is little larger than C: that is what the steps are for.  The
same is true of an estimate of the divergence that is C at most.

Of several rewards, each over its own spread, the number that is added to the spread of their sums is told by rewards so
large that the number added to each of theirs is lost in rounding; and then the latter by two groups of which one has a
spread 32 times the other's: whatever the sums are divided by, how large the answers of one are beside those of the
other says it.  The number added to the count of weights is told by weights so large that
the one added to their mean is lost.

What keeps the spread of advantages from 0 is told by two of them whose spread is about as small.

The number that is added to the count of tokens is told by one token on which the policy has not moved: nothing is
rounded there but the quotient, so that float32 shows a number of 1e-6.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import numpy as np

from rlspec.properties.clipping import Surrogates
from rlspec.properties.correcting import Sizes, Weighed
from rlspec.properties.groups import ManySamples
from rlspec.properties.losses import POINTS, Credited
from rlspec.properties.questions import advantages, correction, group, kl, language, ppo, surrogate
from rlspec.properties.questions.question import Question
from rlspec.properties.strategies import Batch
from rlspec.properties.tokens import Completions, Marked
from rlspec.spec.operations import OPERATIONS

STEPS = np.arange(6, 80, 4) + 0.371
"""Logarithms of ratios, 4 apart, beyond each clamp that is a convention; none is at a clamp with fewer digits."""

DIVERGED = np.arange(3.5, 8, 1)
"""log pi_ref - log pi for which k3, exp(d) - 1 - d, is between 28 and 1800: beyond each clamp of it, and by little."""

FURTHEST = -45.0
"""The same for which k2, half of its square, is beyond each clamp."""

UNBOUNDED = 2.0**120
"""How far above 1 a weight may be that no clip bounds, where advantages do not tell which clip counts."""

BACK = -STEPS[:3]
"""The other way: what is smaller is lost in rounding beside other terms."""


def _token(log_ratio: float, advantage: float) -> Completions:
    """One token, the policies being apart by that much, and the reference and the old policy the same."""
    logp, old_logp = (np.array([[min(x, 0) - 1]]) for x in (log_ratio, -log_ratio))
    return Completions(
        mask=np.array([[True]]), logp=logp, old_logp=old_logp, ref_logp=old_logp, advantages=np.array([[advantage]])
    )


UNMOVED = _token(0.0, 1.0)
"""One on which the policy is the old one, with an advantage of 1."""

FEW = 8
"""How often an answer about it is rounded at most: the sum of one, the count, the quotient, and what 0 is added to."""


def _hardly_rounded(question: Question, largest: float = 1.0) -> Question:
    """A question in which whole numbers stand, and their quotients are no larger than one of these."""
    return replace(question, magnitude=largest, roundings=FEW)


def _tokens() -> Iterator[Completions]:
    """Tokens that no clip bounds: bad ones that have become more probable, good ones that have become less so."""
    yield from (_token(step, -1.0) for step in STEPS)
    yield from (_token(step, 1.0) for step in BACK)


def _from_the_reference(log_ratio: float) -> Completions:
    """One token on which the policy is the old one, and the reference apart from it by so much."""
    logp = np.array([[-max(log_ratio, 0.0) - 1]])
    return _token(0.0, 0.0).but(logp=logp, old_logp=logp, ref_logp=logp + log_ratio)


def _surrogates(operation: str) -> Iterator[Question]:
    yield _hardly_rounded(surrogate.question(operation, _alone(UNMOVED)))
    for token in _tokens():
        case = _alone(token)
        yield surrogate.question(operation, replace(case, clip_high=UNBOUNDED) if operation == "cispo_loss" else case)
    for log_ratio in DIVERGED:
        token = _from_the_reference(log_ratio)
        yield surrogate.question(operation, replace(_alone(token), kl_coef=1.0))
    if "kl" in OPERATIONS[operation].parameters:
        yield surrogate.question(operation, replace(_alone(_from_the_reference(FURTHEST)), kl_coef=1.0, kl="k2"))


def _alone(token: Completions) -> Credited:
    return Credited(token, token.advantages[0], np.array([0]), 0.25, 0.25, kl_coef=0.0, length=1.0)


def _kl_losses() -> Iterator[Question]:
    yield from (kl.loss_question(_from_the_reference(log_ratio), "k3") for log_ratio in DIVERGED)
    yield kl.loss_question(_from_the_reference(FURTHEST), "k2")
    yield _hardly_rounded(kl.loss_question(_from_the_reference(-1.0), "k1"), largest=2.0)


def _ppo_losses() -> Iterator[Question]:
    yield _hardly_rounded(_ppo_loss(UNMOVED))
    yield from map(_ppo_loss, _tokens())


def _ppo_loss(token: Completions) -> Question:
    arrays = {name: getattr(token, name) for name in ("mask", "logp", "old_logp", "advantages")}
    ratio = np.exp(token.logp - token.old_logp)
    return ppo.surrogate_question(Surrogates(**arrays, ratio=ratio, clip_low=0.25, clip_high=0.25, dual_clip=None))


def _weighed(tokens: Completions) -> Weighed:
    return Weighed(tokens, "token", "none", low=0.0, high=1.0, clip_low=0.25, clip_high=0.25)


def _corrected_losses() -> Iterator[Question]:
    """The old policy is the sampler, or the policy is the old one, so that a weight or a ratio is 1."""
    yield _hardly_rounded(correction.question("corrected_loss", _weighed(UNMOVED), "judged_loss"))
    for token in _tokens():
        yield correction.question("corrected_loss", _weighed(token), "judged_loss")
        weighed = token.but(logp=token.logp, old_logp=token.logp)
        yield correction.question("corrected_loss", _weighed(weighed), "judged_loss")


def _importance_weights() -> Iterator[Question]:
    rows = _gone(np.concatenate([STEPS, BACK])[:, None])
    yield correction.question("importance_weights", _weighed(rows), "judged")


def _self_normalized_weights() -> Iterator[Question]:
    """Of two tokens, one has gone far: the other's share of both says how far that counts.

    Where it has gone so far that the other's share is lost in rounding, the other has gone nearly as far.
    """
    steps = [[step, 0.0] for step in (*STEPS[:6], *-STEPS[:6])]
    for pair in [*steps, *([farther, nearer] for nearer, farther in pairwise(STEPS[5:]))]:
        question = _normalized(_gone(np.array([pair])))
        # A weight is at most twice their mean, and off by as many roundings as its logarithm is large, or the mean's.
        yield replace(question, magnitude=8 * max(map(abs, pair)))


def _normalized(tokens: Completions) -> Question:
    return correction.question("self_normalized_weights", _weighed(tokens), "judged_normalized")


def _gone(log_weights: np.ndarray) -> Completions:
    """Tokens whose weights have these logarithms [B, T]."""
    return Completions(
        mask=np.full(log_weights.shape, True), logp=log_weights * 0, old_logp=np.minimum(log_weights, 0) - 1,
        ref_logp=np.minimum(-log_weights, 0) - 1, advantages=log_weights * 0,
    )  # fmt: skip


ESTIMATED = np.concatenate([STEPS, STEPS + 80])
"""Estimates of the divergence, beyond each clamp of those that are added to rewards, which is 100 at most."""


def _token_rewards() -> Iterator[Question]:
    """One token a row: what is added to rewards is the logarithm of the ratio, or grows with it."""
    for log_ratio in (ESTIMATED, -STEPS):
        logp = np.minimum(log_ratio, 0)[:, None] - 1
        pairs = Marked((logp, logp - log_ratio[:, None]), np.full(logp.shape, True))
        scores = np.zeros(len(logp))
        judged = [language.rewards_judged(scores, pairs, 1.0, estimator)["magnitude"] for estimator in ("k2", "k3")]
        yield replace(language.rewards_question(scores, pairs, 1.0), magnitude=np.maximum(*judged))


LARGE = 2.0**60
"""Beside a spread of this size a number up to 1 is lost."""


def _normalizations() -> Iterator[Question]:
    """Two advantages, as far above 0 as below it: nothing is rounded but what they are divided by, and the quotients.

    The spreads are 8 times apart, so that any number that keeps them from 0 is near to one of them.
    """
    for spread in 2.0 ** -np.arange(7, 44, 3):
        pair = Batch(np.array([[spread, -spread]]), np.full((1, 2), True))
        yield _hardly_rounded(advantages.normalization_question(pair), largest=2.0)


def _gdpo_advantages() -> Iterator[Question]:
    """First what is added to the spread of sums of about the weights' size, then what is added to a reward's spread.

    The spreads are 16 times apart, so that any number lies between those of the two groups in one question or two.
    """
    groups = np.array([1, 1, 1, 2, 2, 2])
    table = np.array([[0, 1], [2, 3], [5, 1], [1, 0], [1, 4], [4, 2]])
    for small in 2.0 ** -np.arange(0, 35, 7):
        yield group.gdpo_question(ManySamples(table * LARGE, groups, np.array([1.0, 0.5]) * small))
    uneven = table[:, :1] * np.where(groups == 1, 1, 32)[:, None]
    for spread in 2.0 ** -np.arange(10, 42, 4):
        yield group.gdpo_question(ManySamples(uneven * spread, groups, np.array([1.0])))


def _effective_sample_sizes() -> Iterator[Question]:
    """What is added to the number of weights; beside a mean of that size nothing shows that is added to it."""
    for weights in ([3.0], [1.0, 2.0], [5.0, 1.0, 2.0]):
        yield correction.sample_size_question(Sizes(np.array([weights]) * LARGE, np.full((1, len(weights)), True)))


_OF: dict[str, Callable[[], Iterator[Question]]] = {
    "effective_sample_size": _effective_sample_sizes,
    "gdpo_advantages": _gdpo_advantages,
    "normalize_advantages": _normalizations,
    "ppo_loss": _ppo_losses,
    "token_rewards": _token_rewards,
    "self_normalized_weights": _self_normalized_weights,
    "corrected_loss": _corrected_losses,
    "importance_weights": _importance_weights,
    "kl_loss": _kl_losses,
    **{operation: partial(_surrogates, operation) for operation in POINTS},
}


@cache
def lone_number_questions(operation: str) -> tuple[Question, ...]:
    """Such questions to an operation; none if more ordinary ones show its numbers."""
    return tuple(_OF[operation]()) if operation in _OF else ()
