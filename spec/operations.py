"""The operations that a candidate may provide: the single source of their signatures.

Every argument and result is annotated with its axes: B rollouts (or completions) side by side, T steps, S states,
A actions or features, K atoms, H steps to the horizon, V tokens of a vocabulary, M agents of a team.  Arrays are NumPy
arrays; flags are bool; scalars are Python numbers.  Arguments are passed by position.  Several results are returned as
a tuple.  What an operation computes is said by the clauses of its chapter.

These rules hold everywhere:

- Inside an episode ``next_values[b, t] == values[b, t + 1]``; the two differ only at a boundary, where
  ``next_values`` is the value of the true successor (the final observation of a truncated episode, not the first
  one after the reset).
- A termination outweighs a truncation in the same step.
- The last step of a row may be neither: the rollout was cut there and bootstraps from ``next_values``.
- ``NotImplementedError`` declines the inputs of that one call, and no others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

Array = Any  # a NumPy array; not imported, so that reading the signatures costs nothing

Number = Annotated[float, ()]
Steps = Annotated[Array, ("B", "T")]
Flags = Annotated[Array, ("B", "T"), bool]
Rows = Annotated[Array, ("B",)]
Names = Annotated[Array, ("B",)]  # integers or strings
RowFlags = Annotated[Array, ("B",), bool]
Indices = Annotated[Array, ("B",)]
Choices = Annotated[Array, ("B", "A")]
Actions = Annotated[Array, ("B", "A")]
Legal = Annotated[Array, ("B", "A")]
Transition = Annotated[Array, ("S", "A", "S")]
StatesActions = Annotated[Array, ("S", "A")]
States = Annotated[Array, ("S",)]
StatesInTime = Annotated[Array, ("H", "S")]
StatesActionsInTime = Annotated[Array, ("H", "S", "A")]
Horizon = Annotated[int | None, ()]
Count = Annotated[int, ()]
Name = Annotated[str, ()]
Limit = Annotated[float | None, ()]
Logits = Annotated[Array, ("B", "T", "V")]
Tokens = Annotated[Array, ("B", "T")]
Token = Annotated[int, ()]
Atoms = Annotated[Array, ("B", "K")]
Bins = Annotated[Array, ("K",)]
Features = Annotated[Array, ("A",)]
Slots = Annotated[Array, ("C",)]
Draws = Annotated[Array, ("K",)]
AgentSteps = Annotated[Array, ("B", "T", "M")]
AgentFlags = Annotated[Array, ("B", "T", "M"), bool]
AgentChoices = Annotated[Array, ("B", "M", "A")]
AvailableChoices = Annotated[Array, ("B", "M", "A"), bool]

MASKS = ("mask", "completion_mask", "legal", "valid")
"""The parameters that say which entries count."""


@dataclass(frozen=True)
class Operation:
    """One operation of the contract: its name, chapter, parameters and results, and the axes of each."""

    name: str
    chapter: str
    axes: dict[str, tuple[str, ...]]
    results: dict[str, tuple[str, ...]]
    """The results' axes by their names; a single result has no name."""
    flags: frozenset[str]
    """The names of the results that may come as truth values."""
    row_by_row: bool
    ahead: frozenset[str]
    """The names of the arguments whose entry t belongs to token t + 1; token 0 has none, and does not count."""
    padded_left: bool
    """Whether columns of padding may stand before what counts; not where a step's number matters."""
    limits: frozenset[str]
    """The names of the arguments that may be None, where there is no such limit."""
    text: str

    @property
    def mask(self) -> str:
        """The parameter that says which entries count, or an empty name if all do."""
        return next((name for name in self.axes if name in MASKS), "")

    @property
    def covered(self) -> tuple[str, ...]:
        """The parameters that have an entry for each entry of the mask, or several."""
        if not self.mask:
            return ()
        axes = self.axes[self.mask]
        return tuple(name for name, of in self.axes.items() if name != self.mask and of[: len(axes)] == axes)

    @property
    def of_rows(self) -> tuple[str, ...]:
        """The parameters that have one entry for each row of a mask [B, T], and mean nothing where nothing counts.

        The name of a row's group is none of them: a group without a token may be one that a mean over groups is over.
        Nor is that of its shard, whose number of rows it may be one of.
        """
        if not self.mask or self.axes[self.mask] == ("B",):
            return ()
        return tuple(name for name, of in self.axes.items() if of == ("B",) and name not in ("groups", "shards"))

    @property
    def may_select_nothing(self) -> bool:
        """Whether nothing may count in a row or in the whole batch; one of the actions is always legal."""
        return self.mask not in ("", "legal")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(self.axes)

    @property
    def result(self) -> tuple[str, ...]:
        """The axes of the result, or of the first of several."""
        return next(iter(self.results.values()))

    def result_shapes(self, arguments: tuple[Any, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes that the results have for these arguments, by their names.

        The axis H is as long as the argument ``horizon``, and absent where that is None.
        """
        sizes: dict[str, int | None] = {}
        for (parameter, axes), argument in zip(self.axes.items(), arguments, strict=True):
            known = zip(axes, getattr(argument, "shape", ()), strict=True)
            sizes |= {"H": argument} if parameter == "horizon" else dict(known)
        return {
            name: tuple(size for axis in axes if (size := sizes[axis]) is not None)
            for name, axes in self.results.items()
        }


OPERATIONS: dict[str, Operation] = {}


def _operation(
    chapter: str, *results: str, row_by_row: bool = True, ahead: tuple[str, ...] = (), padded_left: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(function, include_extras=True)
        returned = hints.pop("return")
        several = get_args(returned) if get_origin(returned) is tuple else (returned,)
        axes = {name: get_args(hint)[1] for name, hint in hints.items()}
        hinted = dict(zip(results or ("",), several, strict=True))
        named = {name: get_args(hint)[1] for name, hint in hinted.items()}
        flags = frozenset(name for name, hint in hinted.items() if bool in get_args(hint))
        assert tuple(axes) == tuple(signature(function).parameters)
        text = (function.__doc__ or "").strip()
        limits = frozenset(name for name, hint in hints.items() if hint == Limit)
        rules = row_by_row, frozenset(ahead), padded_left, limits
        OPERATIONS[function.__name__] = Operation(function.__name__, chapter, axes, named, flags, *rules, text)
        return function

    return register


@_operation("decision_process")
def expected_return(
    transition: Transition,
    reward: StatesActions,
    initial: States,
    policy: StatesActions,
    gamma: Number,
    horizon: Horizon,
) -> Number:
    """J, the expected discounted return of the policy; the horizon counts actions, None is infinite."""


@_operation("decision_process")
def state_values(
    transition: Transition, reward: StatesActions, policy: StatesActions, gamma: Number, horizon: Horizon
) -> StatesInTime:
    """V_t(s), row t having horizon - t steps to go; with an infinite horizon one row, of shape [S]."""


@_operation("decision_process")
def action_values(
    transition: Transition, reward: StatesActions, policy: StatesActions, gamma: Number, horizon: Horizon
) -> StatesActionsInTime:
    """Q_t(s, a), row t having horizon - t steps to go; with an infinite horizon of shape [S, A]."""


@_operation("decision_process")
def occupancy(
    transition: Transition, initial: States, policy: StatesActions, gamma: Number, horizon: Horizon
) -> StatesInTime:
    """gamma^t P(s_t = s); with an infinite horizon the sum over t, of shape [S]."""


@_operation("returns")
def discounted_return(rewards: Steps, gamma: Number) -> Rows:
    """sum_t gamma^t r_t of one complete episode a row."""


@_operation("returns")
def reward_to_go(rewards: Steps, gamma: Number) -> Steps:
    """G_t = sum_{k >= t} gamma^(k - t) r_k of one complete episode a row."""


@_operation("returns")
def n_step_return(
    rewards: Steps, next_values: Steps, terminated: Flags, truncated: Flags, gamma: Number, n: Count
) -> Steps:
    """G^n_t: n rewards, discounted, and gamma^n V of the state reached; or as many as the episode has left."""


@_operation("returns")
def lambda_return(
    rewards: Steps, next_values: Steps, terminated: Flags, truncated: Flags, gamma: Number, lam: Number
) -> Steps:
    """(1 - lam) sum_n lam^(n - 1) G^n_t, the weights left over falling to the longest."""


@_operation("advantages")
def td_error(rewards: Steps, values: Steps, next_values: Steps, terminated: Flags, gamma: Number) -> Steps:
    """delta_t = r_t + gamma V(s_{t+1}) - V(s_t), without the bootstrap at a termination."""


@_operation("advantages")
def gae(
    rewards: Steps, values: Steps, next_values: Steps, terminated: Flags, truncated: Flags, gamma: Number, lam: Number
) -> Steps:
    """A_t = sum_{k >= t} (gamma lam)^(k - t) delta_k, over the rest of the episode that step t belongs to."""


@_operation("advantages", row_by_row=False)
def normalize_advantages(advantages: Steps, mask: Flags) -> Steps:
    """(A - mean) / std over the counted entries of the whole batch; mask is 1 where an entry counts."""


@_operation("advantages", "targets", "advantages")
def vtrace(
    rewards: Steps,
    values: Steps,
    next_values: Steps,
    terminated: Flags,
    truncated: Flags,
    log_ratio: Steps,
    gamma: Number,
    lam: Number,
    rho_clip: Number,
    c_clip: Number,
) -> tuple[Steps, Steps]:
    """V-trace's targets for the values and advantages for the policy; log_ratio is log pi(a|s) - log mu(a|s)."""


@_operation("targets")
def sarsa_target(
    rewards: Rows,
    next_action_values: Choices,
    next_actions: Indices,
    terminated: RowFlags,
    truncated: RowFlags,
    gamma: Number,
) -> Rows:
    """r + gamma Q(s', a') of transitions, a' being the action that was taken next; r at a termination."""


@_operation("targets")
def expected_sarsa_target(
    rewards: Rows,
    next_action_values: Choices,
    next_policy: Choices,
    terminated: RowFlags,
    truncated: RowFlags,
    gamma: Number,
) -> Rows:
    """r + gamma sum_a pi(a|s') Q(s', a) of transitions; r at a termination."""


@_operation("targets")
def q_target(
    rewards: Rows, next_action_values: Choices, terminated: RowFlags, truncated: RowFlags, gamma: Number
) -> Rows:
    """r + gamma max_a Q(s', a) of transitions; r at a termination."""


@_operation("targets")
def double_q_target(
    rewards: Rows,
    next_online_values: Choices,
    next_target_values: Choices,
    terminated: RowFlags,
    truncated: RowFlags,
    gamma: Number,
) -> Rows:
    """r + gamma Q_target(s', a) with the action a that the online values are largest for; r at a termination."""


@_operation("targets")
def smoothed_actions(actions: Actions, noise: Actions, noise_clip: Number, low: Number, high: Number) -> Actions:
    """Actions plus noise that is within noise_clip of 0, kept within [low, high]."""


@_operation("targets")
def twin_q_target(
    rewards: Rows, next_first: Rows, next_second: Rows, terminated: RowFlags, truncated: RowFlags, gamma: Number
) -> Rows:
    """r + gamma min(Q_1(s', a'), Q_2(s', a')) of transitions; r at a termination."""


@_operation("targets")
def soft_target(
    rewards: Rows,
    next_first: Rows,
    next_second: Rows,
    next_logp: Rows,
    terminated: RowFlags,
    truncated: RowFlags,
    alpha: Number,
    gamma: Number,
) -> Rows:
    """r + gamma (min(Q_1(s', a'), Q_2(s', a')) - alpha log pi(a'|s')) of transitions; r at a termination."""


@_operation("targets")
def munchausen_rewards(rewards: Steps, logp: Steps, alpha: Number, temperature: Number, lowest: Limit) -> Steps:
    """r_t plus alpha times temperature log pi(a_t|s_t), the latter within [lowest, 0] unless that is None."""


@_operation("targets")
def n_step_target(rewards: Steps, next_values: Steps, terminated: Flags, truncated: Flags, gamma: Number) -> Rows:
    """The T-step target of each window's first step, or that of as many steps as its episode has left."""


@_operation("targets")
def retrace(
    rewards: Steps,
    action_values: Steps,
    next_expected_values: Steps,
    terminated: Flags,
    truncated: Flags,
    log_ratio: Steps,
    gamma: Number,
    lam: Number,
) -> Steps:
    """Retrace(lam) targets; action_values are Q(s_t, a_t), next_expected_values the means of Q(s_{t+1}, .) under pi.

    log_ratio is log pi(a_t|s_t) - log mu(a_t|s_t).
    """


@_operation("targets")
def tree_backup(
    rewards: Steps,
    action_values: Steps,
    next_expected_values: Steps,
    terminated: Flags,
    truncated: Flags,
    probabilities: Steps,
    gamma: Number,
    lam: Number,
) -> Steps:
    """Tree-backup(lam) targets of the same numbers; probabilities are pi(a_t|s_t)."""


@_operation("targets")
def watkins_target(
    rewards: Steps,
    action_values: Steps,
    next_largest_values: Steps,
    terminated: Flags,
    truncated: Flags,
    greedy: Flags,
    gamma: Number,
    lam: Number,
) -> Steps:
    """Watkins's Q(lam) targets; next_largest_values are max_a Q(s_{t+1}, a), greedy says whether a_t is such a one."""


@_operation("targets", "loss", "d_values")
def huber_loss(values: Rows, targets: Rows, delta: Number) -> tuple[Rows, Rows]:
    """Each row's loss of e = value - target: e^2 / 2 up to delta, linear from there on; its derivative in the value."""


@_operation("targets", "loss", "d_log_alpha", "d_logp", row_by_row=False)
def temperature_loss(logp: Rows, log_alpha: Number, target_entropy: Number) -> tuple[Number, Number, Rows]:
    """SAC's loss of the temperature: minus the mean of log_alpha (logp + target_entropy); logp is held."""


@_operation("targets")
def categorical_projection(
    rewards: Rows,
    next_probabilities: Atoms,
    terminated: RowFlags,
    truncated: RowFlags,
    v_min: Number,
    v_max: Number,
    gamma: Number,
) -> Atoms:
    """The distribution of r + gamma Z, or of r at a termination, on the K atoms that lie evenly in [v_min, v_max]."""


@_operation("targets", "loss", "d_quantiles")
def quantile_huber_loss(quantiles: Atoms, target_quantiles: Atoms, delta: Number) -> tuple[Rows, Atoms]:
    """Each row's sum over its K quantiles of the mean over the targets of the quantile Huber loss; its derivative."""


@_operation("targets")
def dueling(values: Rows, advantages: Choices) -> Choices:
    """Q(s, a) = V(s) + A(s, a) - mean_a A(s, a) of each row."""


@_operation("statistics", "mean", "variance", "count", row_by_row=False)
def running_moments(
    mean: Features, variance: Features, count: Number, batch: Actions
) -> tuple[Features, Features, Number]:
    """The mean, variance and count of what was counted before and of a batch of rows, together."""


@_operation("statistics", "mean", "square", "weight", row_by_row=False)
def fading_moments(
    mean: Features, square: Features, weight: Number, batch: Actions, beta: Number
) -> tuple[Features, Features, Number]:
    """Means of numbers and of their squares that forget, and the weight that they have so far, after another batch.

    All three begin at 0; over the weight the first two are a mean and a mean square.
    """


@_operation("statistics", row_by_row=False)
def normalize_observations(
    observations: Actions, mean: Features, variance: Features, eps: Number, clip: Number
) -> Actions:
    """(x - mean) / sqrt(variance + eps), kept within [-clip, clip]."""


@_operation("statistics", row_by_row=False)
def scaled_rewards(
    rewards: Steps,
    terminated: Flags,
    truncated: Flags,
    gamma: Number,
    mean: Number,
    variance: Number,
    count: Number,
    eps: Number,
    clip: Number,
) -> Steps:
    """Rewards over the running standard deviation of the B environments' discounted returns so far, clipped."""


@_operation("statistics", "weights", "bias", row_by_row=False)
def popart(
    weights: Features, bias: Number, old_mean: Number, old_std: Number, new_mean: Number, new_std: Number
) -> tuple[Features, Number]:
    """The last layer's weights and bias that keep the outputs when mean and standard deviation of targets change."""


@_operation("statistics")
def symlog(values: Rows) -> Rows:
    """sign(x) log(1 + |x|)."""


@_operation("statistics")
def symexp(values: Rows) -> Rows:
    """sign(x) (exp |x| - 1)."""


@_operation("statistics", row_by_row=False)
def two_hot(values: Rows, bins: Bins) -> Atoms:
    """Each value as a distribution over the two bins around it, whose mean it is; bins are increasing."""


@_operation("replay")
def replayed_targets(
    rewards: Steps,
    next_values: Steps,
    terminated: Flags,
    truncated: Flags,
    capacity: Count,
    gamma: Number,
    n: Count,
) -> Steps:
    """Each transition's n-step target from a ring that a row was put into; 0 for one that was overwritten.

    A row's T transitions come from one environment, and the ring has room for the newest capacity of them.
    """


@_operation("replay", row_by_row=False)
def sampling_probabilities(priorities: Slots, alpha: Number) -> Slots:
    """p_i^alpha / sum_k p_k^alpha of C priorities, which are positive."""


@_operation("replay", row_by_row=False)
def priority_weights(probabilities: Slots, sampled: Draws, beta: Number) -> Draws:
    """(C P(i))^-beta of the K slots i that were sampled, over the largest; sampled are their numbers, from 0 on."""


@_operation("replay", row_by_row=False)
def sampled_slots(priorities: Slots, uniforms: Draws) -> Draws:
    """The slot that each of K numbers in (0, 1) falls on, the slots being as wide as their priorities.

    Number k is the place in the k-th of K equal parts of the priorities' sum; a priority may be 0.
    """


@_operation("replay", "resets", "counted")
def sequence_masks(terminated: Flags, truncated: Flags, burn_in: Count) -> tuple[Flags, Flags]:
    """Before which steps of a sequence a recurrent state is set to its beginning, and which steps a loss counts."""


@_operation("replay", "next_values", "valid")
def autoreset_transitions(
    observed_values: Steps, final_values: Steps, terminated: Flags, truncated: Flags, mode: Name
) -> tuple[Steps, Flags]:
    """The values of the steps' true successors, and which steps are transitions, in environments that reset themselves.

    observed_values are those of what a step returned; final_values, where an episode ended, those of its last
    observation as it was told beside.  mode: "same step" or "next step", in which a reset happens.  An entry that is no
    transition is 0.
    """


@_operation("agents")
def agents_gae(
    rewards: AgentSteps,
    values: AgentSteps,
    next_values: AgentSteps,
    terminated: Flags,
    truncated: Flags,
    alive: AgentFlags,
    dies: AgentFlags,
    gamma: Number,
    lam: Number,
    credit: Name,
) -> AgentSteps:
    """GAE of each agent, whose rewards are its ``own`` or its ``team``'s; 0 where it is not alive.

    terminated, truncated: how the episode of all of them ends.  alive: whether an agent acts at a step.  dies: whether
    it does not survive that step; it then stays dead until the episode ends.
    """


@_operation("agents")
def counterfactual_advantages(action_values: Choices, policy: Choices, actions: Indices) -> Rows:
    """Q of the action that an agent took less the mean over its policy, the other agents' actions being held."""


@_operation("agents")
def vdn_target(
    rewards: Rows,
    next_action_values: AgentChoices,
    available: AvailableChoices,
    terminated: RowFlags,
    truncated: RowFlags,
    gamma: Number,
) -> Rows:
    """r + gamma sum_i max_a Q_i(s', a) over the actions that are available to agent i; r at a termination."""


@_operation("policy_gradient")
def exact_policy_gradient(
    transition: Transition,
    reward: StatesActions,
    initial: States,
    logits: StatesActions,
    gamma: Number,
    horizon: Horizon,
) -> StatesActions:
    """The gradient of J with respect to the logits of the softmax policy."""


@_operation("policy_gradient", padded_left=False)
def policy_gradient(
    logits: StatesActions, states: Steps, actions: Steps, rewards: Steps, mask: Flags, gamma: Number
) -> StatesActions:
    """REINFORCE's estimate of that gradient, the mean over B episodes; mask is 1 at the steps that happened."""


@_operation("policy_gradient", "loss", "d_logp", row_by_row=False)
def policy_gradient_loss(logp: Steps, advantages: Steps, mask: Flags) -> tuple[Number, Steps]:
    """Minus the mean of advantage times log-probability over the steps where mask is 1, and its derivative in logp."""


@_operation("distributions", "value", "d_logits")
def entropy(logits: Choices, legal: Legal) -> tuple[Rows, Choices]:
    """Each row's entropy over its legal actions, of which there is at least one, and its derivative in that row."""


@_operation("distributions", "value", "d_mean", "d_log_std")
def gaussian_logp(actions: Actions, mean: Actions, log_std: Actions) -> tuple[Rows, Actions, Actions]:
    """Each row's log-density of a Gaussian with independent axes, and its derivatives in mean and log_std."""


@_operation("distributions", "value", "d_log_std")
def gaussian_entropy(log_std: Actions) -> tuple[Rows, Actions]:
    """Each row's differential entropy of such a Gaussian, and its derivative."""


@_operation("distributions", "value", "d_mean", "d_log_std")
def gaussian_kl(
    mean: Actions, log_std: Actions, ref_mean: Actions, ref_log_std: Actions
) -> tuple[Rows, Actions, Actions]:
    """Each row's KL(pi||ref) of two such Gaussians, and its derivatives in the first one's mean and log_std."""


@_operation("distributions", "value", "d_presquash")
def squashed_gaussian_logp(presquash: Actions, mean: Actions, log_std: Actions) -> tuple[Rows, Actions]:
    """Each row's log-density of the action tanh(presquash), presquash being Gaussian; its derivative in presquash."""


@_operation("distributions", "value", "d_presquash")
def bounded_gaussian_logp(
    presquash: Actions, mean: Actions, log_std: Actions, low: Features, high: Features
) -> tuple[Rows, Actions]:
    """The same of the action low + (high - low) (tanh(presquash) + 1) / 2, each axis having bounds of its own."""


@_operation("distributions", "value", "d_logits")
def tempered_entropy(logits: Choices, temperature: Number) -> tuple[Rows, Choices]:
    """Each row's entropy of softmax(logits / temperature), and its derivative in that row's logits."""


@_operation("kl")
def kl_estimate(logp: Steps, ref_logp: Steps, estimator: Name) -> Steps:
    """Each token's estimate of KL(pi||ref) from log pi and log ref of it; the estimator is "k1", "k2" or "k3"."""


@_operation("kl", "value", "d_logits")
def kl_divergence(logits: Choices, ref_logits: Choices) -> tuple[Rows, Choices]:
    """Each row's KL(pi||ref), over all of its actions, and its derivative in that row's logits."""


@_operation("kl", "loss", "d_logp", row_by_row=False)
def kl_loss(logp: Steps, ref_logp: Steps, old_logp: Steps, mask: Flags, estimator: Name) -> tuple[Number, Steps]:
    """The mean estimate over the tokens where mask is 1, which the old policy chose, and its derivative in logp."""


@_operation("surrogate", "loss", "d_logp", row_by_row=False)
def surrogate_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
    ratio: Name,
    clip: Name,
    dual_clip: Limit,
    reduction: Name,
    divisor: Number,
    kl: Name,
) -> tuple[Number, Steps]:
    """A reduction of kl_coef times an estimate of the KL divergence less the clipped surrogate, and its derivative.

    ratio: "token", "sequence" or "none".  clip: "pessimistic", "weight", "geometric" or "none".  kl: "k1" to "k3".
    """


@_operation("correction")
def importance_weights(
    logp: Steps, sampler_logp: Steps, mask: Flags, level: Name, form: Name, low: Number, high: Number
) -> Steps:
    """Each token's ratio of the trainer's probability to the sampler's, at a level and in a form.

    level: "token", "sequence" (the product of a row's ratios) or "geometric" (their geometric mean).  form: "none",
    "truncated" (at most high), "masked" (0 outside of low and high) or "clipped" (from low to high).
    """


@_operation("correction", row_by_row=False)
def self_normalized_weights(
    logp: Steps, sampler_logp: Steps, mask: Flags, level: Name, form: Name, low: Number, high: Number
) -> Steps:
    """The same weights over their mean, which is then 1: over tokens at the level "token", and else over rows."""


@_operation("correction", "loss", "d_logp", row_by_row=False)
def corrected_loss(
    logp: Steps,
    old_logp: Steps,
    sampler_logp: Steps,
    advantages: Steps,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    level: Name,
    form: Name,
    low: Number,
    high: Number,
) -> tuple[Number, Steps]:
    """Minus the mean of w min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), and its derivative in logp.

    r = exp(logp - old_logp), and w is the weight of old_logp against sampler_logp, which is a constant.
    """


@_operation("correction", row_by_row=False)
def effective_sample_size(weights: Steps, mask: Flags) -> Number:
    """How many equal weights are worth as much as these: the square of their sum over the sum of their squares."""


@_operation("distillation", "value", "d_logits")
def distillation_divergence(
    logits: Choices, teacher_logits: Choices, beta: Number, temperature: Number
) -> tuple[Rows, Choices]:
    """Each row's distance of the student from the teacher, over all tokens, and its derivative in the student's logits.

    beta: 0 for KL(teacher||student), 1 for KL(student||teacher), and in between for a Jensen-Shannon divergence.
    """


@_operation("distillation", "value", "d_logits")
def topk_divergence(
    logits: Choices, teacher_logits: Choices, k: Count, direction: Name, tail: Name
) -> tuple[Rows, Choices]:
    """The same over the k tokens that the teacher finds most probable.

    direction: "forward" or "reverse".  tail: what becomes of the others: "dropped", "bucket" (they are one token) or
    "renormalized".
    """


@_operation("ppo", "loss", "d_logp", row_by_row=False)
def ppo_loss(
    logp: Steps,
    old_logp: Steps,
    advantages: Steps,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    dual_clip: Limit,
) -> tuple[Number, Steps]:
    """Minus the mean of min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), and its derivative in logp.

    r = exp(logp - old_logp).  With a dual_clip c > 1 the objective of a negative advantage is at least c A.
    """


@_operation("ppo", "loss", "d_values", row_by_row=False)
def value_loss(values: Steps, old_values: Steps, returns: Steps, mask: Flags, clip: Limit) -> tuple[Number, Steps]:
    """The mean squared error of the values, or of values that stay close to the old ones; its derivative in values."""


@_operation("ppo", "loss", "d_logp", "d_values", "d_entropies", row_by_row=False)
def actor_critic_loss(
    logp: Steps,
    values: Steps,
    entropies: Steps,
    returns: Steps,
    mask: Flags,
    value_coef: Number,
    entropy_coef: Number,
) -> tuple[Number, Steps, Steps, Steps]:
    """The mean of -(R - V) logp + value_coef (R - V)^2 - entropy_coef H, the advantage R - V being a constant."""


@_operation("ppo", row_by_row=False)
def approx_kl(logp: Steps, old_logp: Steps, mask: Flags) -> Number:
    """An estimate of KL(old || new) from tokens that the old policy chose: the mean of r - 1 - log r."""


@_operation("ppo", row_by_row=False)
def clip_fraction(
    logp: Steps, old_logp: Steps, advantages: Steps, mask: Flags, clip_low: Number, clip_high: Number
) -> Number:
    """The share of the tokens at which the clip of the ratio acts."""


@_operation("language")
def token_logp(logits: Logits, tokens: Tokens, temperature: Number) -> Steps:
    """log softmax(logits / temperature) of every token; logits[:, t] predicts tokens[:, t]."""


@_operation("language", ahead=("logits",))
def sequence_logp(logits: Logits, tokens: Tokens, completion_mask: Flags) -> Rows:
    """The sum of the log-probabilities of the tokens that count; logits[:, t] predicts tokens[:, t + 1]."""


@_operation("language")
def packed_logp(logits: Logits, tokens: Tokens, segments: Tokens) -> Steps:
    """The log-probability of every token of rows in which several sequences stand, and 0 at each one's first token.

    logits[:, t] predicts tokens[:, t + 1].  segments: the name of each token's sequence, of which neighbours differ.
    """


@_operation("language")
def completion_mask(tokens: Tokens, prompt_length: Rows, eos: Token, pad: Token) -> Flags:
    """1 at the tokens of each answer, its first EOS included, and 0 elsewhere; numbers or truth values."""


@_operation("language")
def token_rewards(scores: Rows, logp: Steps, ref_logp: Steps, mask: Flags, kl_coef: Number) -> Steps:
    """The score at the last token that counts, and at each kl_coef (logp - ref_logp) less (or as LANG-23 says)."""


@_operation("language")
def outcome_score(token_rewards: Steps, mask: Flags) -> Rows:
    """What each completion has earned: the sum of its rewards over the tokens that count."""


@_operation("language")
def token_returns(token_rewards: Steps, mask: Flags, gamma: Number) -> Steps:
    """Reward-to-go over the tokens that count."""


@_operation("language")
def token_gae(token_rewards: Steps, values: Steps, mask: Flags, gamma: Number, lam: Number) -> Steps:
    """Generalised advantage estimates over the tokens that count; nothing follows the last of them."""


@_operation("language")
def packed_gae(token_rewards: Steps, values: Steps, segments: Tokens, mask: Flags, gamma: Number, lam: Number) -> Steps:
    """The same in rows in which several sequences stand, each of them by itself.

    segments: the name of the sequence that each token is of, which no other sequence of its row has.
    """


@_operation("turns")
def turn_sums(values: Steps, turns: Tokens, mask: Flags) -> Steps:
    """The sum over the tokens of a turn, at each of them; turns: the number of each token's turn, which never falls."""


@_operation("turns")
def turn_returns(token_rewards: Steps, turns: Tokens, mask: Flags, gamma: Number) -> Steps:
    """What the own turn and all later ones were paid, discounted once per turn, at each token."""


@_operation("turns")
def turn_gae(token_rewards: Steps, values: Steps, turns: Tokens, mask: Flags, gamma: Number, lam: Number) -> Steps:
    """GAE with turns as steps, at each token; a turn's value is that of its first token, and 0 after the last turn."""


@_operation("reductions", row_by_row=False)
def aggregate(values: Steps, mask: Flags, reduction: Name, divisor: Number) -> Number:
    """One number of all tokens that count.

    reduction: "token-mean", "mean of means", "mean of sums", "sum", "fixed divisor" or "mean of sums over a fixed
    divisor".
    """


@_operation("reductions", row_by_row=False)
def accumulate(values: Steps, mask: Flags, reduction: Name, divisor: Number, rows: Count) -> Number:
    """The same number, gathered from micro-batches of so many consecutive rows, the last one of those left."""


@_operation("reductions", row_by_row=False)
def packed_aggregate(values: Steps, segments: Tokens, mask: Flags, reduction: Name, divisor: Number) -> Number:
    """One number of rows in which several sequences stand, each sequence being a row of the reduction.

    segments: as in `packed_gae`.
    """


@_operation("reductions", "loss", "d_values", row_by_row=False)
def sharded_loss(
    values: Steps,
    mask: Flags,
    shards: Indices,
    averaged_over: Count,
    weighing: Name,
    reduction: Name,
    divisor: Number,
) -> tuple[Number, Steps]:
    """What a batch that is spread over shards is trained on, shards' gradients being averaged; and its derivative.

    shards: which shard, from 0 to averaged_over - 1, holds each row.  weighing: ``whole``, ``shards``, ``rows`` or
    ``tokens``: what a shard divides by, or is weighed by.
    """


@_operation("preference")
def completion_logp(token_logp: Steps, mask: Flags) -> Rows:
    """log pi(y|x) of each completion; mask is 1 at its tokens, and neither at the prompt's nor at padding."""


@_operation("preference", "loss", "d_chosen", "d_rejected", row_by_row=False)
def dpo_loss(
    chosen_logp: Rows,
    rejected_logp: Rows,
    ref_chosen_logp: Rows,
    ref_rejected_logp: Rows,
    beta: Number,
    label_smoothing: Number,
    valid: Rows,
) -> tuple[Number, Rows, Rows]:
    """The mean of -log sigmoid(beta h) over the pairs where valid is 1, and its derivatives; label_smoothing < 1/2."""


@_operation("preference", "loss", "d_chosen", "d_rejected", row_by_row=False)
def ipo_loss(
    chosen_logp: Rows, rejected_logp: Rows, ref_chosen_logp: Rows, ref_rejected_logp: Rows, tau: Number, valid: Rows
) -> tuple[Number, Rows, Rows]:
    """The mean of (h - 1/(2 tau))^2 over the pairs where valid is 1, and its derivatives."""


@_operation("preference", "loss", "d_logp", row_by_row=False)
def kto_loss(
    logp: Rows,
    ref_logp: Rows,
    desirable: Rows,
    kl: Number,
    beta: Number,
    desirable_weight: Number,
    undesirable_weight: Number,
    valid: Rows,
) -> tuple[Number, Rows]:
    """The mean of weight less value over the completions where valid is 1, and its derivative; kl >= 0 is constant."""


@_operation("preference", "loss", "d_chosen", "d_rejected", row_by_row=False)
def orpo_loss(
    chosen_logp: Rows, rejected_logp: Rows, chosen_length: Rows, rejected_length: Rows, lam: Number, valid: Rows
) -> tuple[Number, Rows, Rows]:
    """Negative log-likelihood of the chosen plus lam times that of the odds ratio; logps are negative sums."""


@_operation("preference", "loss", "d_chosen", "d_rejected", row_by_row=False)
def simpo_loss(
    chosen_logp: Rows,
    rejected_logp: Rows,
    chosen_length: Rows,
    rejected_length: Rows,
    beta: Number,
    gamma: Number,
    valid: Rows,
) -> tuple[Number, Rows, Rows]:
    """The mean of -log sigmoid(beta (mean logp of the chosen less the rejected) - gamma), and its derivatives."""


@_operation("preference", "loss", "d_chosen", "d_rejected", row_by_row=False)
def sppo_loss(
    chosen_logp: Rows, rejected_logp: Rows, ref_chosen_logp: Rows, ref_rejected_logp: Rows, beta: Number, valid: Rows
) -> tuple[Number, Rows, Rows]:
    """The mean of (a - 1/(2 beta))^2 + (b + 1/(2 beta))^2, a and b being the log-ratios of chosen and rejected."""


@_operation("preference", "loss", "d_chosen", "d_rejected", row_by_row=False)
def rpo_loss(
    chosen_logp: Rows,
    rejected_logp: Rows,
    ref_chosen_logp: Rows,
    ref_rejected_logp: Rows,
    chosen_length: Rows,
    beta: Number,
    alpha: Number,
    valid: Rows,
) -> tuple[Number, Rows, Rows]:
    """DPO's loss plus alpha times the negative log-likelihood of the chosen, and its derivatives."""


@_operation("preference", "loss", "d_chosen", "d_rejected", row_by_row=False)
def reward_model_loss(
    chosen_rewards: Rows, rejected_rewards: Rows, margins: Rows, centering: Number, valid: Rows
) -> tuple[Number, Rows, Rows]:
    """The mean of -log sigmoid(r_w - r_l - m) + centering (r_w + r_l)^2 over the valid pairs, and its derivatives."""


@_operation("overlong")
def overlong_penalty(lengths: Rows, max_length: Count, buffer: Count, factor: Number) -> Rows:
    """DAPO's soft overlong penalty: 0 up to max_length - buffer tokens, then down in a line to -factor."""


@_operation("overlong")
def cosine_reward(
    lengths: Rows,
    correct: RowFlags,
    max_length: Count,
    shortest_correct: Number,
    longest_correct: Number,
    shortest_wrong: Number,
    longest_wrong: Number,
    exceeded: Limit,
) -> Rows:
    """A score that goes with the length, along half a cosine, from that of the shortest to that of the longest answers.

    exceeded: the score of an answer of max_length tokens or more; None for that of the longest.
    """


Samples = Annotated[Array, ("N",)]
SampleFlags = Annotated[Array, ("N",), bool]
Groups = Annotated[Array, ("N",)]


@_operation("overlong", row_by_row=False)
def length_reward(lengths: Samples, correct: SampleFlags, groups: Groups) -> Samples:
    """Kimi k1.5's length reward: 1/2 for the shortest answer of a group to -1/2 for the longest, 0 at most if wrong."""


@_operation("group", row_by_row=False)
def group_advantages(rewards: Samples, groups: Groups, baseline: Name, scale: Name) -> Samples:
    """Each reward less its group's baseline, ``mean`` or ``leave-one-out``, over its scale, ``std`` or ``none``.

    groups: N ids, integers or strings, of which equal ones make a group wherever they stand.
    """


@_operation("group", row_by_row=False)
def reinforce_plus_plus_advantages(rewards: Samples, groups: Groups, baseline: Name) -> Samples:
    """Each reward, less its group's ``mean`` or ``none``, normalised over all N samples."""


Scores = Annotated[Array, ("N", "K")]
Weights = Annotated[Array, ("K",)]


@_operation("group", row_by_row=False)
def gdpo_advantages(rewards: Scores, groups: Groups, weights: Weights) -> Samples:
    """The weighted sum of K rewards, each of them normalised within its group; and the sums normalised, or not."""


@_operation("group", row_by_row=False)
def process_advantages(token_rewards: Steps, ends: Flags, groups: Names, mask: Flags) -> Steps:
    """At each token the sum of the rewards at the ends of steps from there on, normalised over all ends of its group.

    ends: which tokens end a step.  What stands at others is no reward.
    """


@_operation("group", "loss", "d_logp", row_by_row=False)
def grpo_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
) -> tuple[Number, Steps]:
    """A mean over rows of means over tokens of the clipped surrogate, with kl_coef k3; and its derivative."""


@_operation("group", "loss", "d_logp", row_by_row=False)
def dr_grpo_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
    length: Number,
) -> tuple[Number, Steps]:
    """The same as a mean over rows of sums over tokens, divided by a fixed length; and its derivative."""


@_operation("group", "loss", "d_logp", row_by_row=False)
def dapo_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
) -> tuple[Number, Steps]:
    """The same as a mean over all tokens; and its derivative."""


@_operation("group", "loss", "d_logp", row_by_row=False)
def cispo_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
) -> tuple[Number, Steps]:
    """Minus a mean over tokens of clipped ratio times advantage times log-probability; the ratio is held."""


@_operation("group", "loss", "d_logp", row_by_row=False)
def gspo_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
) -> tuple[Number, Steps]:
    """A mean over rows of the clipped surrogate of the geometric mean of the row's ratios; and its derivative."""


@_operation("group", "loss", "d_logp", row_by_row=False)
def luspo_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
) -> tuple[Number, Steps]:
    """The same, each row as often as it has tokens; and its derivative."""


@_operation("group", "loss", "d_logp", row_by_row=False)
def gmpo_loss(
    logp: Steps,
    old_logp: Steps,
    ref_logp: Steps,
    advantages: Rows,
    groups: Names,
    mask: Flags,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
) -> tuple[Number, Steps]:
    """A mean over rows of advantage times the geometric mean of the row's clipped ratios, negative; its derivative."""
