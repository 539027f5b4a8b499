"""Language as a decision process: a prompt, tokens one after the other, and one score at the end.

A *context* is a prompt and the tokens chosen so far; it is the state, and the next token is the action.  A *policy*
gives each context a distribution over the tokens, the softmax of that context's logits.  The languages here are small
enough that every completion can be listed, so that an expectation is a finite sum.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from math import exp, log, prod
from typing import Any

from .advantages import gae
from .choices import one_of, shape_of
from .decision_process import TabularMDP
from .distributions import log_softmax
from .estimators import ESTIMATORS
from .linear_algebra import Matrix, Number, Vector
from .policy_gradient import scored
from .reductions import apart
from .returns import reward_to_go

Tokens = tuple[int, ...]
Context = tuple[int, Tokens]
Policy = Mapping[Context, Sequence[Number]]
Gradient = dict[Context, list[Number]]

END = 0
"""The token that ends a completion, and is its last."""


@dataclass(frozen=True)
class Language:
    """Prompts, a vocabulary, and how long a completion may become."""

    prompts: Sequence[Number]  # [P], each one's probability
    vocabulary: int  # V; the tokens are 0 (END), ..., V - 1
    longest: int  # tokens at most, END included

    def completions(self, prompt: int, begun: Tokens = ()) -> Iterator[Tokens]:
        """Every completion of a prompt: those that END ends, and those that are cut at the greatest length."""
        if len(begun) == self.longest or begun[-1:] == (END,):
            yield begun
        else:
            for token in range(self.vocabulary):
                yield from self.completions(prompt, (*begun, token))

    def contexts(self) -> list[Context]:
        """Every context in which a token is chosen."""
        return list(dict.fromkeys(context for pair in self.pairs() for context, _ in choices(*pair)))

    def pairs(self) -> list[tuple[int, Tokens]]:
        """Every prompt with every completion."""
        return [(prompt, tokens) for prompt in range(len(self.prompts)) for tokens in self.completions(prompt)]


def choices(prompt: int, tokens: Tokens) -> list[tuple[Context, int]]:
    """The contexts that a completion passes through, and the token that it chooses in each.

    >>> choices(0, (1, 0))
    [((0, ()), 1), ((0, (1,)), 0)]
    """
    return [((prompt, tokens[:step]), token) for step, token in enumerate(tokens)]


def token_probabilities(policy: Policy, prompt: int, tokens: Tokens) -> list[Number]:
    """pi(y_t | x, y_<t) of every token of a completion.

    >>> token_probabilities({(0, ()): [0.25, 0.75], (0, (1,)): [0.5, 0.5]}, 0, (1, 0))
    [0.75, 0.5]
    """
    return [policy[context][token] for context, token in choices(prompt, tokens)]


def probability(policy: Policy, prompt: int, tokens: Tokens) -> Number:
    """pi(y|x) = prod_t pi(y_t | x, y_<t).

    >>> probability({(0, ()): [0.25, 0.75], (0, (1,)): [0.5, 0.5]}, 0, (1, 0))
    0.375
    """
    return prod(token_probabilities(policy, prompt, tokens))


def expectation(language: Language, policy: Policy, value: Callable[[int, Tokens], Number]) -> Number:
    """E[value(x, y)] = sum_x rho(x) sum_y pi(y|x) value(x, y).

    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> expectation(short, {(0, ()): [0.25, 0.75]}, lambda prompt, tokens: 8 * tokens[0])
    6.0
    """
    return sum(
        language.prompts[prompt] * probability(policy, prompt, tokens) * value(prompt, tokens)
        for prompt, tokens in language.pairs()
    )


def expected_gradient(
    language: Language,
    policy: Policy,
    credit: Callable[[int, Tokens], Sequence[Number]],
    speaker: Policy | None = None,
) -> Gradient:
    """E[sum_t c_t(x, y) grad log pi(y_t | x, y_<t)], with respect to the logits of every context.

    credit: c_t of every token of a completion.  A loss whose derivative with respect to log pi(y_t | ...) is c_t has
    this expected gradient.  speaker: whose completions they are; the policy's own, if it is not given.

    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> expected_gradient(short, {(0, ()): [0.25, 0.75]}, lambda prompt, tokens: [8 * tokens[0]])
    {(0, ()): [-1.5, 1.5]}
    """

    def shares(prompt: int, tokens: Tokens) -> list[Number]:
        weight = language.prompts[prompt] * probability(speaker or policy, prompt, tokens)
        return [weight * amount for amount in credit(prompt, tokens)]

    return gathered(language, policy, ((prompt, tokens, shares(prompt, tokens)) for prompt, tokens in language.pairs()))


def gathered(language: Language, policy: Policy, credit: Iterable[tuple[int, Tokens, Sequence[Number]]]) -> Gradient:
    """The sum of c_t grad log pi(y_t | x, y_<t) over completions, each with the credit c_t of its tokens."""
    received: Gradient = {context: [0] * language.vocabulary for context in language.contexts()}
    for prompt, tokens, amounts in credit:
        for (context, token), amount in zip(choices(prompt, tokens), amounts, strict=True):
            received[context][token] = received[context][token] + amount
    rows = scored([policy[context] for context in received], list(received.values()))
    return dict(zip(received, rows, strict=True))


def score_gradient(language: Language, policy: Policy, score: Callable[[int, Tokens], Number]) -> Gradient:
    """grad E[score(x, y)]: every token of a completion is credited with the score of the whole.

    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> score_gradient(short, {(0, ()): [0.25, 0.75]}, lambda prompt, tokens: 8 * tokens[0])
    {(0, ()): [-1.5, 1.5]}
    """
    return expected_gradient(language, policy, lambda prompt, tokens: [score(prompt, tokens)] * len(tokens))


def as_process(language: Language, score: Callable[[int, Tokens], Number]) -> TabularMDP:
    """The decision process that a language is: contexts as states, tokens as actions, a last state that is silence.

    A token leads from its context to the longer one, or to silence if it ends the completion, which is when the score
    is paid (LANG-1).  The states are `language.contexts()` in their order, and silence.
    """
    contexts = language.contexts()
    silence = len(contexts)
    place = {context: state for state, context in enumerate(contexts)}
    scores = {pair: score(*pair) for pair in language.pairs()}
    following = [[(prompt, (*tokens, token)) for token in range(language.vocabulary)] for prompt, tokens in contexts]
    reached = [[place.get(context, silence) for context in row] for row in following]
    reward = [[scores.get(context, 0) for context in row] for row in following]
    still = [silence] * language.vocabulary
    return TabularMDP(
        [[[int(state == after) for state in range(silence + 1)] for after in row] for row in [*reached, still]],
        [*reward, [0] * language.vocabulary],
        [language.prompts[prompt] if tokens == () else 0 for prompt, tokens in contexts] + [0],
        1,
        language.longest,
    )


def as_table(language: Language, policy: Policy) -> list[list[Number]]:
    """The policy as [S][A], for the states of `as_process`; what is said in silence does not matter, so END is.

    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> as_table(short, {(0, ()): [0.25, 0.75]})
    [[0.25, 0.75], [1, 0]]
    """
    silence = [int(token == END) for token in range(language.vocabulary)]
    return [*(list(policy[context]) for context in language.contexts()), silence]


def token_logp(
    logits: Matrix,
    tokens: Sequence[int],
    temperature: Number,
    exp: Callable[[Number], Number] = exp,
    log: Callable[[Number], Number] = log,
) -> list[Number]:
    """The log-probability of every token under the logits that stand at its own place (LANG-7).

    logits: [T][V].  tokens: [T].  Returns T numbers.

    >>> [round(x, 3) for x in token_logp([[0, 1], [0, 0]], [0, 1], 1)]
    [-1.313, -0.693]
    """
    tempered = [[logit / temperature for logit in row] for row in logits]
    return [log_softmax(row, exp, log)[token] for row, token in zip(tempered, tokens, strict=True)]


def sequence_logp(
    logits: Matrix,
    tokens: Sequence[int],
    completion_mask: Sequence[Any],
    exp: Callable[[Number], Number] = exp,
    log: Callable[[Number], Number] = log,
) -> Number:
    """log pi(y|x): the sum over the tokens that count, each predicted by the logits one place before it (LANG-12).

    logits: [T][V].  tokens, completion_mask: [T]; the first token has no prediction, and does not count.

    >>> round(sequence_logp([[0, 1], [0, 0]], [0, 1], [0, 1]), 3)
    -0.313
    """
    predicted = zip(logits[:-1], tokens[1:], completion_mask[1:], strict=True)
    return sum(log_softmax(row, exp, log)[token] for row, token, counts in predicted if counts)


def packed_logp(
    logits: Matrix,
    tokens: Sequence[int],
    segments: Sequence[int],
    exp: Callable[[Number], Number] = exp,
    log: Callable[[Number], Number] = log,
) -> list[Number]:
    """log softmax(logits[t - 1])[tokens[t]] where the token before is of the same sequence, and 0 elsewhere (LANG-32).

    logits: [T][V].  tokens, segments: [T].  Returns T numbers.

    >>> [round(x, 3) for x in packed_logp([[0, 1], [5, 7], [0, 0]], [0, 1, 1], [0, 0, 1])]
    [0, -0.313, 0]
    """
    found: list[Number] = [0] * len(tokens)
    for step in range(1, len(tokens)):
        if segments[step] == segments[step - 1]:
            found[step] = log_softmax(logits[step - 1], exp, log)[tokens[step]]
    return found


def completion_mask(tokens: Sequence[int], prompt_length: int, eos: int, pad: int) -> list[int]:
    """1 at the tokens of the answer: behind the prompt, up to the first EOS, or else to where padding begins (LANG-15).

    tokens: [T], padding on the left being part of the prompt.  Returns T times 0 or 1.

    >>> completion_mask([7, 7, 5, 2, 5], prompt_length=2, eos=2, pad=0)
    [0, 0, 1, 1, 0]
    """
    end = prompt_length + _length(tokens[prompt_length:], eos, pad)
    return [int(prompt_length <= place < end) for place, _ in enumerate(tokens)]


def _length(answer: Sequence[int], eos: int, pad: int) -> int:
    """How many tokens an answer has: up to its first EOS, or else up to the last one that is not padding."""
    for place, token in enumerate(answer):
        if token == eos:
            return place + 1
    return max((place + 1 for place, token in enumerate(answer) if token != pad), default=0)


def counted(numbers: Iterable[Any], mask: Iterable[Any]) -> list[Any]:
    """The numbers of the tokens that count, one after the other.

    >>> counted([1, 2, 3], [1, 0, 1])
    [1, 3]
    """
    return list(compress(numbers, mask))


def spread(numbers: Iterable[Number], mask: Iterable[Any]) -> list[Number]:
    """The numbers put where the mask is set, and 0 elsewhere: what `counted` has taken out, in its place again.

    >>> spread([1, 3], [1, 0, 1])
    [1, 0, 3]
    """
    each = iter(numbers)
    return [next(each) if counts else 0 for counts in mask]


def token_rewards(
    score: Number,
    logp: Vector,
    ref_logp: Vector,
    mask: Sequence[Any],
    kl_coef: Number,
    estimator: str = "k1",
    clamp: str = "none",
    exp: Callable[[Number], Number] = exp,
) -> list[Number]:
    """r_t = -beta k_t, and the score on top of it at the last token that counts (LANG-20, LANG-21).

    logp, ref_logp, mask: [T].  kl_coef: beta.  estimator, clamp: what k_t is (LANG-23).  Returns T numbers.

    >>> token_rewards(1, [-1, -2, -3], [-2, -4, -5], [1, 1, 1], 0.25)
    [-0.25, -0.5, 0.5]
    """
    estimate, limit = one_of(DISTANCES, estimator), shape_of(clamp, "none", "within C")[1]
    distances = [estimate(x - y, exp(y - x)) for x, y in counted(zip(logp, ref_logp, strict=True), mask)]
    if limit is not None:
        distances = [min(max(distance, -limit), limit) for distance in distances]
    rewards = [-kl_coef * distance for distance in distances]
    return spread([*rewards[:-1], *(reward + score for reward in rewards[-1:])], mask)


DISTANCES: Mapping[str, Callable[..., Number]] = {**ESTIMATORS, "abs": lambda log_ratio, inverse: abs(log_ratio)}
"""What a token pays for, by its name, of its log-ratio and exp(-log-ratio) (LANG-23)."""


def outcome_score(token_rewards: Vector, mask: Sequence[Any]) -> Number:
    """What a completion has earned: the sum of the rewards of the tokens that count (LANG-24).

    >>> outcome_score([1, 2, 4], [1, 0, 1])
    5
    """
    return sum(counted(token_rewards, mask))


def token_returns(token_rewards: Vector, mask: Sequence[Any], gamma: Number) -> list[Number]:
    """Reward-to-go over the tokens that count: the others are no steps, and nothing is discounted over them (LANG-25).

    token_rewards, mask: [T].  Returns T numbers.

    >>> token_returns([1, 9, 4], [1, 0, 1], 0.5)
    [3.0, 0, 4.0]
    """
    return spread(reward_to_go(counted(token_rewards, mask), gamma), mask)


def packed_gae(
    token_rewards: Vector, values: Vector, segments: Sequence[Hashable], mask: Sequence[Any], gamma: Number, lam: Number
) -> list[Number]:
    """Each sequence's own GAE, in a row in which several stand (LANG-35).

    token_rewards, values, segments, mask: [T].  Returns T numbers.

    >>> packed_gae([0, 1, 1], [4, 2, 2], [5, 5, 9], [1, 1, 1], 0.5, 0.5)
    [-3.25, -1.0, -1.0]
    """
    alone = [token_gae(token_rewards, values, own, gamma, lam) for own in apart(segments, mask)]
    return [sum(numbers) for numbers in zip(*alone, strict=True)] if alone else [0 for _ in mask]


def token_gae(token_rewards: Vector, values: Vector, mask: Sequence[Any], gamma: Number, lam: Number) -> list[Number]:
    """GAE over the tokens that count: A_t = delta_t + gamma lam A_(t+1), nothing following the last of them (LANG-28).

    token_rewards, values, mask: [T].  Returns T numbers.  Schulman et al. (2016), eq. 16.

    >>> token_gae([0, 9, 1], [4, 9, 2], [1, 0, 1], 0.5, 0.5)
    [-3.25, 0, -1.0]
    """
    known = counted(values, mask)
    if not known:
        return [0 for _ in mask]
    following = [*known[1:], 0]  # nothing follows the last token
    never = [False for _ in known]
    return spread(gae(counted(token_rewards, mask), known, following, never, never, gamma, lam), mask)
