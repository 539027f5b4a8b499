"""The formulas at the size of real batches: vectorised, on NumPy, PyTorch and JAX arrays alike.

An array is of any library that keeps to the array API standard.  The answer is of the same library, number type and
device; nothing is written to.  Rows are side by side, [B, T] in the contract's order; flags and masks are Boolean.

The recursions of returns and advantages are one linear recursion, x_t = b_t + a_t x_{t+1}.  It is composed of blocks
of `BLOCK` steps: within all blocks at once, then from block to block in the same way, so that it takes a number of
operations that grows like the logarithm of T.  Formulas in logits go through a bounded number of rows at once, so that
no second table of logits is made.

With the unit roundoff u of the arrays' numbers (2^-53 in float64, 2^-24 in float32) each function's docstring says how
far rounding may take an answer, to first order in u, and which clause, with its source, says what is right.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_jax_array, is_torch_array, size
from array_api_compat import device as device_of

from .reference.choices import one_of, require, shape_of
from .reference.spread import SHAPES, STDS

Array = Any
"""Of NumPy, PyTorch, JAX, or another library of the array API standard."""

BLOCK = 16
"""Steps of a block: as many float32 numbers as a line of a processor's cache has."""

AT_ONCE = 2**17
"""So many numbers of a table are worked on at once, so that what is between them stays in a processor's cache."""

SPARSE = 4
"""Groups are numbered anew, which takes a sort, if their numbers go beyond so many times the number of samples."""

LOGITS_AT_ONCE = 2**19
"""So many logits are held in float32 at once, or those of one position if it has more."""


def recurrence(addends: Array, factors: Array) -> Array:
    """x_t = b_t + a_t x_{t+1} along the last axis, and x_T = b_T at its last step.

    addends, factors: b and a, [..., T].  A factor of the last step is not read.
    Rounding: |error of x_t| <= (3 D + 1) u sum_k |a_t ... a_{k-1} b_k|, with the depth D = 16 ceil(log_16 T).

    >>> import numpy as np
    >>> recurrence(np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.5, 0.5]))
    array([3., 4., 4.])
    """
    xp, shape = array_namespace(addends, factors), addends.shape
    rows = tuple(xp.reshape(table, (-1, shape[-1])) for table in (addends, factors))
    return xp.reshape(_by_rows(_recurrence, rows), shape)


def _recurrence(addends: Array, factors: Array) -> Array:
    xp, (rows, steps) = array_namespace(addends), addends.shape
    if steps <= BLOCK:
        return xp.stack(_within(*(xp.unstack(table, axis=1) for table in (addends, factors)))[0], axis=1)
    blocks = -(-steps // BLOCK)
    answers, weights = (xp.stack(part) for part in _within(*(_in_blocks(xp, t, blocks) for t in (addends, factors))))
    first, weight = (xp.reshape(part[0, :], (rows, blocks)) for part in (answers, weights))
    after = xp.concat([_recurrence(first, weight)[:, 1:], xp.zeros_like(first[:, :1])], axis=1)
    whole = xp.reshape(answers + weights * xp.reshape(after, (1, -1)), (BLOCK, rows, blocks))
    return xp.reshape(xp.permute_dims(whole, (1, 2, 0)), (rows, -1))[:, :steps]


def _in_blocks(xp: Any, table: Array, blocks: int) -> Array:
    """A table [B, T] as [BLOCK, B blocks], with zeros for the steps that are missing in each row's last block."""
    rows, steps = table.shape
    if steps < blocks * BLOCK:
        missing = xp.zeros((rows, blocks * BLOCK - steps), dtype=table.dtype, device=device_of(table))
        table = xp.concat([table, missing], axis=1)
    return xp.reshape(xp.permute_dims(xp.reshape(table, (rows, blocks, BLOCK)), (2, 0, 1)), (BLOCK, -1))


def _within(addends: Sequence[Array], factors: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """The recursion over steps after which nothing follows, and by what each step weighs what does."""
    last = len(addends) - 1
    answers, weights = [addends[last]], [factors[last]]
    for step in reversed(range(last)):
        answers.append(addends[step] + factors[step] * answers[-1])
        weights.append(factors[step] * weights[-1])
    return answers[::-1], weights[::-1]


def _is_small(table: Array) -> bool:
    """Whether a table is to be worked on as a whole: a small one, one of JAX, which compiles, or one on a device."""
    return is_jax_array(table) or size(table) <= AT_ONCE or str(device_of(table)) != "cpu"


def _parts(tables: tuple[Array, ...], rows: int) -> Iterator[tuple[Array, ...]]:
    """The tables' rows, so many at a time."""
    for start in range(0, tables[0].shape[0], rows):
        yield tuple(table[start : start + rows, ...] for table in tables)


def _by_rows(function: Callable[..., Any], tables: tuple[Array, ...]) -> Any:
    """A function of tables [B, T], of as many rows at a time as are to be worked on at once; one or several results.

    All that are not flags come to it in one number type, a real one.
    """
    xp = array_namespace(*tables)
    flags = [xp.isdtype(table.dtype, "bool") for table in tables]
    kinds = [(table[:0, ...] / 1).dtype for table, flag in zip(tables, flags, strict=True) if not flag]
    number = xp.result_type(*kinds)
    tables = tuple(
        table if flag else xp.astype(table, number, copy=False) for table, flag in zip(tables, flags, strict=True)
    )
    if _is_small(tables[0]):
        return function(*tables)
    parts = [function(*part) for part in _parts(tables, max(AT_ONCE // tables[0].shape[1], 1))]
    if isinstance(parts[0], tuple):
        return tuple(xp.concat([part[place] for part in parts]) for place in range(len(parts[0])))
    return xp.concat(parts)


def reward_to_go(rewards: Array, gamma: float) -> Array:
    """G_t = r_t + gamma G_{t+1} of complete episodes (RET-2), [B, T].

    Rounding: that of `recurrence`, of the discounted absolute rewards.
    """

    def some(rewards: Array) -> Array:
        return recurrence(rewards, array_namespace(rewards).full_like(rewards, gamma))

    return _by_rows(some, (rewards,))


def discounted_return(rewards: Array, gamma: float) -> Array:
    """R = sum_t gamma^t r_t of complete episodes (RET-1), [B], from rewards [B, T].  Rounding: as `reward_to_go`."""
    return reward_to_go(rewards, gamma)[:, 0]


def lambda_return(
    rewards: Array, next_values: Array, terminated: Array, truncated: Array, gamma: float, lam: float
) -> Array:
    """G_t = r_t + gamma ((1 - lam) V'_t + lam G_{t+1}), with V'_t for G_{t+1} at an end, of an episode or row (RET-8).

    Rounding: that of `recurrence` and 4 u more, of the absolute r_t + gamma V'_t.
    """

    def some(rewards: Array, next_values: Array, terminated: Array, truncated: Array) -> Array:
        xp = array_namespace(rewards)
        bootstraps = xp.where(terminated, xp.zeros_like(next_values), next_values)
        follows = _goes_on(xp, terminated | truncated)
        weight = _where(xp, follows, lam, rewards)
        return recurrence(rewards + gamma * (1 - weight) * bootstraps, gamma * weight)

    return _by_rows(some, (rewards, next_values, terminated, truncated))


def _goes_on(xp: Any, ended: Array) -> Array:
    """Whether the next step of the row belongs to the same episode."""
    last = xp.zeros_like(ended[..., :1])
    return xp.concat([~ended[..., :-1], last], axis=-1)


def td_error(rewards: Array, values: Array, next_values: Array, terminated: Array, gamma: float) -> Array:
    """delta_t = r_t + gamma (1 - d_t) V'_t - V_t (ADV-1), [B, T].

    Rounding: 3 u (|r_t| + gamma |V'_t| + |V_t|).
    """
    xp = array_namespace(rewards)
    return rewards + gamma * xp.where(terminated, xp.zeros_like(next_values), next_values) - values


def gae(
    rewards: Array, values: Array, next_values: Array, terminated: Array, truncated: Array, gamma: float, lam: float
) -> Array:
    """A_t = delta_t + gamma lam A_{t+1}, or delta_t where an episode ends (ADV-2), [B, T].

    Rounding: that of `recurrence` and 5 u more, of the absolute |r_t| + gamma |V'_t| + |V_t|.
    """

    def some(rewards: Array, values: Array, next_values: Array, terminated: Array, truncated: Array) -> Array:
        xp = array_namespace(rewards)
        errors = td_error(rewards, values, next_values, terminated, gamma)
        return recurrence(errors, _where(xp, _goes_on(xp, terminated | truncated), gamma * lam, errors))

    return _by_rows(some, (rewards, values, next_values, terminated, truncated))


def _where(xp: Any, flags: Array, number: float, like: Array) -> Array:
    """The number where a flag is set, and 0 elsewhere."""
    return xp.where(flags, xp.full_like(like, number), xp.zeros_like(like))


def vtrace(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    log_ratio: Array,
    gamma: float,
    lam: float,
    rho_clip: float,
    c_clip: float,
) -> tuple[Array, Array]:
    """V-trace's targets V_t + x_t, x_t = rho_t delta_t + gamma lam c_t x_{t+1} (ADV-20), and its advantages, [B, T].

    log_ratio: log pi(a|s) - log mu(a|s), of which rho and c are the exponentials, clipped from above.  The advantages
    are rho_t (r_t + gamma q_t - V_t), where q_t is the next step's target, mixed with V'_t by lam (ADV-30, "mixed").
    Rounding: that of `recurrence`, and 9 u and the error of the exponential more, of the absolute numbers in the sums.
    """

    def some(rewards: Array, values: Array, next_values: Array, terminated: Array, truncated: Array,
             log_ratio: Array) -> tuple[Array, Array]:  # fmt: skip
        xp = array_namespace(rewards)
        ratio = xp.exp(log_ratio)
        rho = xp.where(ratio > rho_clip, xp.full_like(ratio, rho_clip), ratio)
        c = xp.where(ratio > c_clip, xp.full_like(ratio, c_clip), ratio)
        goes_on = _goes_on(xp, terminated | truncated)
        errors = rho * td_error(rewards, values, next_values, terminated, gamma)
        targets = values + recurrence(errors, c * _where(xp, goes_on, gamma * lam, errors))
        mixed = lam * xp.concat([targets[:, 1:], targets[:, :1]], axis=1) + (1 - lam) * next_values
        ahead = xp.where(goes_on, mixed, next_values)
        return targets, rho * td_error(rewards, values, ahead, terminated, gamma)

    return _by_rows(some, (rewards, values, next_values, terminated, truncated, log_ratio))


def token_returns(token_rewards: Array, mask: Array, gamma: float) -> Array:
    """Reward-to-go over the tokens that count, discounted from one of these to the next (LANG-25), [B, T].

    0 where the mask is False, under which nothing is read.  Rounding: that of `recurrence`.
    """

    def some(token_rewards: Array, mask: Array) -> Array:
        xp = array_namespace(token_rewards)
        rewards = xp.where(mask, token_rewards, xp.zeros_like(token_rewards))
        returns = recurrence(rewards, xp.where(mask, xp.full_like(rewards, gamma), xp.ones_like(rewards)))
        return xp.where(mask, returns, xp.zeros_like(returns))

    return _by_rows(some, (token_rewards, mask))


def token_gae(token_rewards: Array, values: Array, mask: Array, gamma: float, lam: float) -> Array:
    """Generalised advantage estimates over the tokens that count; nothing follows the last of them (LANG-28), [B, T].

    0 where the mask is False, under which nothing is read.  Rounding: as `gae`.
    """

    def some(token_rewards: Array, values: Array, mask: Array) -> Array:
        xp = array_namespace(token_rewards)
        nothing = xp.zeros_like(token_rewards)
        values = xp.where(mask, values, nothing)
        nearest = recurrence(values, xp.where(mask, nothing, xp.ones_like(nothing)))  # V at the step, or the next one
        following = xp.concat([nearest[:, 1:], nothing[:, :1]], axis=1)
        errors = xp.where(mask, token_rewards + gamma * following - values, nothing)
        advantages = recurrence(errors, xp.where(mask, xp.full_like(errors, gamma * lam), xp.ones_like(errors)))
        return xp.where(mask, advantages, nothing)

    return _by_rows(some, (token_rewards, values, mask))


def group_mean(rewards: Array, groups: Array, count: int | None = None) -> Array:
    """The mean of the group that each sample belongs to (GRP-1), [N].

    rewards: [N].  groups: [N], a whole number for each sample.  count: how many groups there are, if they are the
    numbers from 0 to count - 1, which `jax.jit` needs, and which spares finding it out.
    Of NumPy, PyTorch and JAX, which add up by number, in any order; numbers of 16 bits are taken as float32.
    Rounding, with n members, a spread of R between the largest and the least: (n + 3) u R + u |mean|.
    """
    groups, count = _numbered(groups, count)
    rewards = _wide_enough(rewards)
    some, sizes = _of_some_member(rewards, groups, count), _sizes(rewards, groups, count)
    return rewards - _centred(rewards, groups, some, sizes)


def group_std(rewards: Array, groups: Array, count: int | None = None, *, std: str = "ddof=1") -> Array:
    """The standard deviation of the group that each sample belongs to (GRP-12), [N]; 0 in a group of one.

    Arguments as of `group_mean`; std: a choice of GRP-12.  Rounding: (2 n + 6) u R.
    """
    groups, count = _numbered(groups, count)
    rewards = _wide_enough(rewards)
    some, sizes = _of_some_member(rewards, groups, count), _sizes(rewards, groups, count)
    return _deviation(_centred(rewards, groups, some, sizes), groups, sizes, std)[groups]


def group_advantages(
    rewards: Array,
    groups: Array,
    baseline: str = "mean",
    scale: str = "std",
    count: int | None = None,
    *,
    std: str = "ddof=1",
    eps: str = "std + 1e-6",
) -> Array:
    """A_i = (r_i - b_i) / D for each sample (GRP-1), [N]; exactly 0 in a group of equal rewards, or of one (GRP-9).

    rewards, groups, count: as of `group_mean`.  baseline: "mean" or "leave-one-out".  scale: "std" or "none".
    std, eps: choices of GRP-12 and GRP-13.
    Rounding, with n members, a spread of R, and s for D: c (2 n + 9) u (1 + |A|) R / s, where c = 1, or 2 for
    leave-one-out.  How it is derived: each reward is first taken less another one of its group, by which equal ones are
    0 and others at most R, rounded to u R; a sum of n numbers in any order is off by n - 1 times u times the sum of
    their absolute values (Higham 2002, eq. 4.4), so that r_i - b_i is off by (n + 3) u R; and the deviation, a norm, by
    the norm of these errors and half the roundings of its own sum of squares, (2 n + 6) u R.
    """
    require(baseline, "mean", "leave-one-out")
    require(scale, "std", "none")
    xp = array_namespace(rewards)
    groups, count = _numbered(groups, count)
    rewards = _wide_enough(rewards)
    some, sizes = _of_some_member(rewards, groups, count), _sizes(rewards, groups, count)
    above = _centred(rewards, groups, some, sizes)
    if scale == "std":
        alone = xp.ones_like(sizes)  # what the deviation of a single reward is taken for
        deviation = xp.where(sizes > 1, _deviation(above, groups, sizes, std), alone)
        divided_by = _kept_from_zero(xp, deviation, eps)
        divided_by = xp.where(divided_by == 0, xp.ones_like(divided_by), divided_by)  # all members are 0
        scaled = above / divided_by[groups]
    else:
        scaled = above
    others = sizes / xp.where(sizes > 1, sizes - 1, xp.ones_like(sizes))
    return scaled * others[groups] if baseline == "leave-one-out" else scaled


def _wide_enough(rewards: Array) -> Array:
    """Real numbers of 32 bits at least."""
    xp = array_namespace(rewards)
    return xp.astype(rewards, xp.result_type((rewards[:0] / 1).dtype, xp.float32), copy=False)


def _numbered(groups: Array, count: int | None) -> tuple[Array, int]:
    """The groups' numbers from 0 on, and how many there are; groups without a member do not matter."""
    if count is not None:
        return groups, count
    xp, most = array_namespace(groups), SPARSE * size(groups)
    if int(xp.min(groups)) >= 0 and int(xp.max(groups)) < most:
        return groups, int(xp.max(groups)) + 1
    names, groups = xp.unique_inverse(groups)
    return groups, names.shape[0]


def _group_sums(numbers: Array, groups: Array, count: int) -> Array:
    """The sum of the numbers of each group, [count]."""
    if is_torch_array(numbers):
        return numbers.new_zeros(count).index_add(0, groups, numbers)
    if is_jax_array(numbers):
        return array_namespace(numbers).zeros(count, dtype=numbers.dtype).at[groups].add(numbers)
    return np.bincount(groups, weights=numbers, minlength=count).astype(numbers.dtype)


def _of_some_member(rewards: Array, groups: Array, count: int) -> Array:
    """The reward of one of the members of each sample's group, whichever, [N]."""
    if is_torch_array(rewards):
        return rewards.new_zeros(count).scatter(0, groups, rewards)[groups]
    if is_jax_array(rewards):
        return array_namespace(rewards).zeros(count, dtype=rewards.dtype).at[groups].set(rewards)[groups]
    found = np.zeros(count, dtype=rewards.dtype)
    found[groups] = rewards
    return found[groups]


def _sizes(rewards: Array, groups: Array, count: int) -> Array:
    return _group_sums(array_namespace(rewards).ones_like(rewards), groups, count)


def _centred(rewards: Array, groups: Array, some: Array, sizes: Array) -> Array:
    """r_i - m_i, exactly 0 where a group's rewards are equal."""
    xp = array_namespace(rewards)
    off = rewards - some
    members = xp.where(sizes > 0, sizes, xp.ones_like(sizes))
    return off - (_group_sums(off, groups, sizes.shape[0]) / members)[groups]


def _deviation(above: Array, groups: Array, sizes: Array, std: str) -> Array:
    """The standard deviation of each group, [count]; 0 in a group of one."""
    xp = array_namespace(above)
    divisor = sizes - one_of(STDS, std)
    squares = _group_sums(above * above, groups, sizes.shape[0])
    return xp.sqrt(squares / xp.where(divisor > 0, divisor, xp.ones_like(divisor)))


def _kept_from_zero(xp: Any, deviation: Array, eps: str) -> Array:
    """What is done to a deviation before something is divided by it (GRP-13)."""
    shape, number = shape_of(eps, *SHAPES)
    if shape == "std":
        return deviation
    if shape == "std + E":
        return deviation + number
    if shape == "sqrt(var + E)":
        return xp.sqrt(deviation * deviation + number)
    least, more = (number, 0.0) if shape == "max(std, E)" else (1e-3, 1e-6)
    return xp.where(deviation < least, xp.full_like(deviation, least), deviation) + more


def token_logp(logits: Array, tokens: Array, temperature: float = 1.0) -> Array:
    """log softmax(logits / temperature) of every token (LANG-7), [B, T], from logits [B, T, V].

    Computed in the logits' numbers, or in float32 where these are narrower, and so is the answer.
    Rounding, with z = logits / temperature: (V + 4) u + 2 u max |z|, and the errors of exp and log.
    """

    def some(logits: Array, tokens: Array) -> Array:
        xp = array_namespace(logits)
        return xp.take_along_axis(_log_softmax(xp, logits), tokens[:, None], axis=1)[:, 0]

    return _by_positions(some, temperature, (logits,), tokens)


def token_entropy(logits: Array, temperature: float = 1.0) -> Array:
    """-sum_a pi(a) log pi(a) of pi = softmax(logits / temperature) (DIST-1), [B, T], from logits [B, T, V].

    Rounding: as `token_logp`, weighed by the probabilities, and (V + 2) u of the entropy.
    """

    def some(logits: Array) -> Array:
        xp = array_namespace(logits)
        logp = _log_softmax(xp, logits)
        return -_divergence(xp, logp, xp.zeros_like(logp))

    return _by_positions(some, temperature, (logits,))


def token_kl(logits: Array, ref_logits: Array, temperature: float = 1.0) -> Array:
    """KL(pi || pi_ref) = sum_a pi(a) (log pi(a) - log pi_ref(a)) over the whole vocabulary (KL-10), [B, T].

    logits, ref_logits: [B, T, V].  Rounding: as `token_logp` for both policies, and (V + 2) u of the terms' absolute
    sum.
    """

    def some(logits: Array, ref_logits: Array) -> Array:
        xp = array_namespace(logits)
        return _divergence(xp, _log_softmax(xp, logits), _log_softmax(xp, ref_logits))

    return _by_positions(some, temperature, (logits, ref_logits))


def _divergence(xp: Any, logp: Array, ref_logp: Array) -> Array:
    """sum_a pi(a) (log pi(a) - log pi_ref(a)), to which what has no probability adds nothing."""
    probability = xp.exp(logp)
    own, other = (xp.where(probability > 0, table, xp.zeros_like(table)) for table in (logp, ref_logp))
    return xp.sum(probability * (own - other), axis=-1)


def _log_softmax(xp: Any, logits: Array) -> Array:
    """z_a - log sum_b exp(z_b) over the last axis, the largest taken off first; PyTorch does it in one pass."""
    if is_torch_array(logits):
        return logits.log_softmax(-1, dtype=xp.result_type(logits.dtype, xp.float32))
    rest = logits - xp.max(logits, axis=-1, keepdims=True)
    return rest - xp.log(xp.sum(xp.exp(rest), axis=-1, keepdims=True))


def _by_positions(function: Callable[..., Array], temperature: float, tables: Sequence[Array], *others: Array) -> Array:
    """A function of logits over some positions at a time: [B, T], of tables [B, T, V] and others [B, T]."""
    xp, (rows, steps, vocabulary) = array_namespace(*tables), tables[0].shape
    flat = [xp.reshape(table, (-1, vocabulary)) for table in tables]
    beside = [xp.reshape(other, (-1,)) for other in others]
    number = xp.result_type(tables[0].dtype, xp.float32)
    answers = []
    for some in _parts((*flat, *beside), max(LOGITS_AT_ONCE // vocabulary, 1)):
        tables = some[: len(flat)]
        if temperature != 1 or not is_torch_array(tables[0]):  # which widens and takes the logarithm in one pass
            tables = [xp.astype(table, number) / temperature for table in tables]
        answers.append(function(*tables, *some[len(flat) :]))
    return xp.reshape(xp.concat(answers), (rows, steps))
