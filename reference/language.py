"""Language as a decision process: a prompt, tokens one after the other, and one score at the end.

A *context* is a prompt and the tokens chosen so far; it is the state, and the next token is the action.  A *policy*
gives each context a distribution over the tokens, the softmax of that context's logits.  The languages here are small
enough that every completion can be listed, so that an expectation is a finite sum.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from .linear_algebra import Number
from .policy_gradient import scored

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
    """The contexts that a completion passes through, and the token that it chooses in each."""
    return [((prompt, tokens[:step]), token) for step, token in enumerate(tokens)]


def token_probabilities(policy: Policy, prompt: int, tokens: Tokens) -> list[Number]:
    """pi(y_t | x, y_<t) of every token of a completion."""
    return [policy[context][token] for context, token in choices(prompt, tokens)]


def probability(policy: Policy, prompt: int, tokens: Tokens) -> Number:
    """pi(y|x) = prod_t pi(y_t | x, y_<t)."""
    return prod(token_probabilities(policy, prompt, tokens))


def expectation(language: Language, policy: Policy, value: Callable[[int, Tokens], Number]) -> Number:
    """E[value(x, y)] = sum_x rho(x) sum_y pi(y|x) value(x, y)."""
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
    """
    contexts = language.contexts()
    received = {context: [0] * language.vocabulary for context in contexts}
    for prompt, tokens in language.pairs():
        weight = language.prompts[prompt] * probability(speaker or policy, prompt, tokens)
        for (context, token), amount in zip(choices(prompt, tokens), credit(prompt, tokens), strict=True):
            received[context][token] = received[context][token] + weight * amount
    rows = scored([policy[context] for context in contexts], [received[context] for context in contexts])
    return dict(zip(contexts, rows, strict=True))


def score_gradient(language: Language, policy: Policy, score: Callable[[int, Tokens], Number]) -> Gradient:
    """grad E[score(x, y)]: every token of a completion is credited with the score of the whole."""
    return expected_gradient(language, policy, lambda prompt, tokens: [score(prompt, tokens)] * len(tokens))
