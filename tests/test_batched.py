"""The formulas at the size of real batches give what the reference gives in rationals, within their stated bounds."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from flint import arb, ctx

from rlspec import batched
from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.reference import advantages, distributions, group, language, returns
from rlspec.reference.spread import standard_deviation

UNIT = {"float64": Fraction(1, 2**53), "float32": Fraction(1, 2**24)}
GAMMA, LAMBDA = 0.984375, 0.9375  # of which the product is a float32 number, as is 1 - LAMBDA
LENGTHS = [1, 2, 15, 16, 17, 100, 256, 257]


@pytest.fixture(params=["numpy", "torch", "jax"])
def library(request):
    """How an array is made of a NumPy array, and a NumPy array of that again."""
    if request.param == "jax":
        jax = pytest.importorskip("jax")
        jax.config.update("jax_enable_x64", True)
        return jax.numpy.asarray
    return np.asarray if request.param == "numpy" else torch.asarray


@pytest.fixture(params=[False, True], ids=["at once", "in parts"])
def parts(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(batched, "AT_ONCE", 40)
        monkeypatch.setattr(batched, "LOGITS_AT_ONCE", 40)


@pytest.fixture(params=["float64", "float32"])
def number(request):
    return request.param


def drawn(steps, number, rows=3):
    """Rewards, values, successors' values with NaN where nothing follows; terminations, truncations."""
    draw = np.random.default_rng(steps)
    rewards, values, following = (draw.standard_normal((rows, steps)).astype(number) for _ in range(3))
    terminated, truncated = (draw.random((rows, steps)) < 0.1 for _ in range(2))
    following[terminated] = np.nan
    return rewards, values, following, terminated, truncated


def exact(table):
    """A table's rows in rationals; what is no number stays."""
    return [[Fraction(x) if math.isfinite(x) else x for x in row] for row in table.tolist()]


def depth(steps):
    return 16 * max(math.ceil(math.log(steps, 16) - 1e-9), 1)


def close(answer, right, magnitude, roundings, number):
    """Each number is as far from what is right as so many roundings of its magnitude may take it, or nearer."""
    unit = UNIT[number]
    assert str(answer.dtype).endswith(number)
    answer = np.asarray(answer)
    assert answer.shape == np.shape(right)
    for place in np.ndindex(answer.shape):
        error = abs(Fraction(float(answer[place])) - right[place])
        assert error <= roundings * unit * magnitude[place], (place, float(error / unit / (magnitude[place] or 1)))


def by_rows(function, *tables, **fixed):
    return np.array([function(*row, **fixed) for row in zip(*tables, strict=True)], dtype=object)


def absolute(table, sign=1):
    return [[sign * abs(x) if math.isfinite(x) else x for x in row] for row in exact(table)]


@pytest.mark.parametrize("steps", LENGTHS)
def test_gae(library, parts, number, steps):
    rewards, values, following, *ends = drawn(steps, number)
    answer = batched.gae(*map(library, (rewards, values, following, *ends)), GAMMA, LAMBDA)
    one_row = partial(advantages.gae, gamma=Fraction(GAMMA), lam=Fraction(LAMBDA))
    right = by_rows(one_row, exact(rewards), exact(values), exact(following), *ends)
    magnitude = by_rows(one_row, absolute(rewards), absolute(values, -1), absolute(following), *ends)
    close(answer, right, magnitude, 3 * depth(steps) + 6, number)


@pytest.mark.parametrize("steps", LENGTHS)
def test_lambda_return(library, parts, number, steps):
    rewards, _, following, *ends = drawn(steps, number)
    answer = batched.lambda_return(*map(library, (rewards, following, *ends)), GAMMA, LAMBDA)
    one_row = partial(returns.lambda_return, gamma=Fraction(GAMMA), lam=Fraction(LAMBDA))
    right = by_rows(one_row, exact(rewards), exact(following), *ends)
    magnitude = by_rows(one_row, absolute(rewards), absolute(following), *ends)
    close(answer, right, magnitude, 3 * depth(steps) + 5, number)


@pytest.mark.parametrize("steps", LENGTHS)
def test_reward_to_go_and_the_discounted_return(library, parts, number, steps):
    rewards, *_ = drawn(steps, number)
    one_row = partial(returns.reward_to_go, gamma=Fraction(GAMMA))
    right, magnitude = by_rows(one_row, exact(rewards)), by_rows(one_row, absolute(rewards))
    roundings = 3 * depth(steps) + 1
    close(batched.reward_to_go(library(rewards), GAMMA), right, magnitude, roundings, number)
    close(batched.discounted_return(library(rewards), GAMMA), right[:, 0], magnitude[:, 0], roundings, number)


@pytest.mark.parametrize("steps", LENGTHS)
def test_vtrace(library, parts, number, steps):
    rewards, values, following, *ends = drawn(steps, number)
    halves = np.random.default_rng(0).integers(-2, 3, rewards.shape)
    log_ratio = (halves * np.log(2)).astype(number)
    tables = (*map(library, (rewards, values, following, *ends, log_ratio)),)
    answers = batched.vtrace(*tables, GAMMA, LAMBDA, 2, 1)
    scalars = {"gamma": Fraction(GAMMA), "lam": Fraction(LAMBDA), "rho_clip": 2, "c_clip": 1, "advantage": "mixed"}
    ratio = [[nearest(arb(x).exp()) for x in row] for row in log_ratio.tolist()]
    one_row = partial(advantages.vtrace, **scalars)
    right = by_rows(one_row, exact(rewards), exact(values), exact(following), *ends, ratio)
    # A product of ratios in each term: every one has its own rounding, of the argument's size, and that of the product.
    roundings = 3 * depth(steps) + 4 * steps + 16
    for result, answer in enumerate(answers):
        magnitude = by_rows(one_row, absolute(rewards), absolute(values, -1), absolute(following), *ends, ratio)
        room = np.abs(magnitude[:, result]) + 2 * np.abs(np.array(absolute(values), dtype=object))
        close(answer, right[:, result], room, roundings, number)


@pytest.mark.parametrize("steps", LENGTHS)
def test_token_returns_and_token_gae(library, parts, number, steps):
    rewards, values, *_ = drawn(steps, number)
    mask = np.random.default_rng(steps).random(rewards.shape) < 0.6
    mask[-1] = False
    rewards[~mask], values[~mask] = np.nan, np.inf
    read = [library(table) for table in (rewards, values, mask)]
    answer = batched.token_returns(read[0], read[2], GAMMA)
    one_row = partial(language.token_returns, gamma=Fraction(GAMMA))
    right, magnitude = by_rows(one_row, exact(rewards), mask), by_rows(one_row, absolute(rewards), mask)
    close(answer, right, magnitude, 3 * depth(steps) + 1, number)
    answer = batched.token_gae(*read, GAMMA, LAMBDA)
    one_row = partial(language.token_gae, gamma=Fraction(GAMMA), lam=Fraction(LAMBDA))
    right = by_rows(one_row, exact(rewards), exact(values), mask)
    room = by_rows(one_row, absolute(rewards), absolute(values, -1), mask) + 2 * np.max(np.abs(values[mask]), initial=0)
    close(answer, right, room, 3 * depth(steps) + 6, number)


def policies(number, rows=2, steps=3, vocabulary=11):
    draw = np.random.default_rng(1)
    logits, others = (draw.normal(0, 20, (rows, steps, vocabulary)).astype(number) for _ in range(2))
    return logits, others, draw.integers(0, vocabulary, (rows, steps))


def exactly_at(function, *tables):
    """A function of each position's logits, as balls: the midpoints."""
    found = [[nearest(function(*(balls(row) for row in each))) for each in zip(*row, strict=True)]
             for row in zip(*(table.tolist() for table in tables), strict=True)]  # fmt: skip
    return np.array(found, dtype=object)


FUNCTIONS = {"exp": arb.exp, "log": arb.log}


def log_policy(logits):
    return distributions.log_softmax(logits, **FUNCTIONS)


def test_token_logp(library, parts, number):
    logits, _, tokens = policies(number)
    answer = batched.token_logp(library(logits), library(tokens), 0.5)
    every = [exactly_at(lambda z, a=a: log_policy([2 * x for x in z])[a], logits) for a in range(logits.shape[2])]
    right = np.take_along_axis(np.stack(every, axis=-1), tokens[..., None], axis=-1)[..., 0]
    magnitude = np.full(tokens.shape, Fraction(float(np.abs(2 * logits).max() + 1)))
    close(answer, right, magnitude, 2 * logits.shape[2] + 10, number)


def test_token_entropy(library, parts, number):
    logits, *_ = policies(number)
    answer = batched.token_entropy(library(logits))
    right = exactly_at(lambda z: distributions.entropy(z, [1] * len(z), **FUNCTIONS)[0], logits)
    magnitude = np.full(right.shape, Fraction(float(np.abs(2 * logits).max() + 1)))
    close(answer, right, magnitude, 2 * logits.shape[2] + 10, number)


def test_token_kl(library, parts, number):
    logits, others, _ = policies(number)
    answer = batched.token_kl(library(logits), library(others))

    def divergence(z, y):
        both = zip(log_policy(z), log_policy(y), strict=True)
        return sum(own.exp() * (own - other) for own, other in both)

    right = exactly_at(divergence, logits, others)
    magnitude = np.full(right.shape, Fraction(float(4 * np.abs(logits).max() + 4 * np.abs(others).max())))
    close(answer, right, magnitude, 2 * logits.shape[2] + 10, number)


def test_impossible_tokens_add_nothing(library):
    logits = library(np.array([[[0.0, 0.0, -np.inf]]]))
    np.testing.assert_allclose(np.asarray(batched.token_entropy(logits)), [[np.log(2)]], rtol=1e-15)
    np.testing.assert_array_equal(np.asarray(batched.token_kl(logits, logits)), [[0.0]])
    assert np.asarray(batched.token_kl(library(np.zeros((1, 1, 3))), logits))[0, 0] == np.inf


def test_narrow_logits_are_answered_in_float32():
    logits = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.bfloat16)
    answer = batched.token_logp(logits, torch.tensor([[2]]))
    assert answer.dtype == torch.float32
    assert float(answer) == pytest.approx(-math.log(1 + math.exp(-1) + math.exp(-2)), rel=1e-6)


def test_integers_are_taken_for_the_numbers_that_they_are(library):
    rewards = np.array([[1, 0, 2]], dtype=np.uint8)
    flags = np.zeros((1, 3), dtype=bool)
    values = np.ones((1, 3))
    asked = map(library, (rewards, values, flags, flags))
    np.testing.assert_array_equal(np.asarray(batched.lambda_return(*asked, 0.5, 0.5)), [[1.46875, 0.875, 2.5]])
    np.testing.assert_array_equal(
        np.asarray(batched.token_returns(library(rewards), ~library(flags), 0.5)), [[1.5, 1, 2]]
    )


SIZES = [1, 2, 3, 5, 8, 40]
"""Of the groups; all rewards of the one of 3 are equal."""


def scored(number):
    """Rewards far from 0, and the numbers of uneven groups in no order."""
    draw = np.random.default_rng(7)
    groups = draw.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    rewards = (1000 + draw.standard_normal(len(groups))).astype(number)
    rewards[groups == 2] = 1000.1
    return rewards, groups


def of_each_group(rewards, groups, function):
    """A function of each group's rewards in rationals, given to each member."""
    known = {name: function([Fraction(x) for x in rewards[groups == name].tolist()]) for name in range(len(SIZES))}
    return np.array([known[name] for name in groups.tolist()], dtype=object)


def spreads(rewards, groups):
    """The difference between the largest and the least reward of each sample's group, and the group's size."""
    spread = of_each_group(rewards, groups, lambda of: max(of) - min(of))
    return spread, np.array([SIZES[name] for name in groups.tolist()], dtype=object)


@pytest.mark.parametrize("count", [None, len(SIZES)])
def test_group_mean_and_standard_deviation(library, number, count):
    rewards, groups = scored(number)
    spread, size = spreads(rewards, groups)
    given = library(rewards), library(groups), count
    mean = of_each_group(rewards, groups, lambda of: sum(of) / len(of))
    close(batched.group_mean(*given), mean, (size + 3) * spread + abs(mean), 1, number)
    for std in ("ddof=0", "ddof=1"):

        def deviation(of, std=std):
            with ctx.workprec(PRECISION):
                return nearest(standard_deviation(balls(of), std)) if len(of) > 1 else Fraction(0)

        right = of_each_group(rewards, groups, deviation)
        close(batched.group_std(*given, std=std), right, (2 * size + 6) * spread, 1, number)


@pytest.mark.parametrize("baseline", ["mean", "leave-one-out"])
@pytest.mark.parametrize("std", ["ddof=0", "ddof=1"])
@pytest.mark.parametrize("eps", ["std", "std + 1e-3", "max(std, 0.5)", "sqrt(var + 1e-3)", "max(std, 1e-3) + 1e-6", ""])
def test_group_advantages(library, number, baseline, std, eps):
    rewards, groups = scored(number)
    spread, size = spreads(rewards, groups)
    scale = "std" if eps else "none"
    conventions = {"std": std, "eps": eps or "std"}
    answer = batched.group_advantages(library(rewards), library(groups), baseline, scale, **conventions)
    with ctx.workprec(PRECISION):
        of_balls = group.group_advantages(
            balls(rewards.astype(object)), groups.tolist(), baseline, scale, **conventions
        )
        right = np.array([nearest(x) for x in of_balls], dtype=object)
        centred = group.group_advantages(balls(rewards.astype(object)), groups.tolist(), baseline, "none")
        scales = [nearest(b / a) if a != 0 else Fraction(1) for a, b in zip(of_balls, centred, strict=True)]
    factor = 2 if baseline == "leave-one-out" else 1
    room = factor * (2 * size + 9) * (1 + abs(right)) * spread / np.array(scales, dtype=object)
    close(answer, right, room, 1, number)
    assert not np.asarray(answer)[np.isin(groups, (0, 2))].any()  # alone, or equal: exactly 0


def test_groups_may_have_any_whole_numbers_for_names(library):
    rewards, groups = scored("float64")
    expected = np.asarray(batched.group_advantages(library(rewards), library(groups)))
    for names in (2 * groups + 3, groups - 4, groups * 10**12):
        np.testing.assert_array_equal(batched.group_advantages(library(rewards), library(names)), expected)


def test_groups_are_added_up_in_float32_at_least():
    rewards = torch.ones(300, dtype=torch.bfloat16)
    rewards[0] = 0
    groups = torch.zeros(300, dtype=torch.int64)
    assert float(batched.group_mean(rewards, groups)[0]) == pytest.approx(299 / 300)
    assert batched.group_advantages(rewards, groups).dtype == torch.float32


def test_jax_compiles_group_advantages():
    jax = pytest.importorskip("jax")
    rewards, groups = map(jax.numpy.asarray, scored("float32"))
    compiled = jax.jit(partial(batched.group_advantages, count=len(SIZES)))(rewards, groups)
    np.testing.assert_allclose(compiled, batched.group_advantages(rewards, groups), rtol=1e-4, atol=1e-5)


def test_arguments_are_left_as_they_were(library):
    tables = drawn(40, "float64")
    copies = [table.copy() for table in tables]
    batched.gae(*map(library, tables), GAMMA, LAMBDA)
    for table, copy in zip(tables, copies, strict=True):
        np.testing.assert_array_equal(table, copy)


def test_gradients_pass_through_tensors():
    rewards = torch.ones((1, 20), dtype=torch.float64, requires_grad=True)
    batched.reward_to_go(rewards, 0.5)[0, 0].backward()
    np.testing.assert_array_equal(rewards.grad.numpy(), [[0.5**t for t in range(20)]])


def test_jax_compiles_it():
    jax = pytest.importorskip("jax")
    tables = [jax.numpy.asarray(table) for table in drawn(100, "float32")]
    compiled = jax.jit(partial(batched.gae, gamma=GAMMA, lam=LAMBDA))(*tables)
    np.testing.assert_allclose(compiled, batched.gae(*tables, GAMMA, LAMBDA), rtol=1e-4, atol=1e-5)
