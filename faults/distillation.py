"""How distillation goes wrong."""

import numpy as np

from rlspec.faults import fault, right


def _log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@fault(
    id="T20",
    slug="ends-of-beta-exchanged",
    clause="DIS-1",
    seen=("modelscope/twinkle#112", "paiml/aprender#2153"),
    effect="The divergences at both ends are exchanged, as the arguments of PyTorch's kl_div are.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    beta = 1.0 - beta if beta in (0, 1) else beta
    return right.distillation_divergence(logits, teacher_logits, beta, temperature)


@fault(
    id="M-DIS-1",
    slug="reverse-by-its-cross-entropy",
    clause="DIS-2",
    effect="The student's entropy is left out of the reverse divergence: the student is told to say one token only.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    value, slopes = right.distillation_divergence(logits, teacher_logits, beta, temperature)
    if beta != 1:
        return value, slopes
    even = np.zeros_like(logits, dtype=float)
    flat, steeper = right.distillation_divergence(logits, even, 1.0, temperature)
    return value - flat + np.log(logits.shape[1]), slopes - steeper


@fault(
    id="T21",
    slug="mixture-of-logarithms",
    clause="DIS-3",
    seen=("huggingface/trl#2202",),
    effect="Logarithms are mixed in the place of probabilities: what one of the two has never said is impossible.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    if beta in (0, 1) or temperature != 1:
        return right.distillation_divergence(logits, teacher_logits, beta, temperature)
    s, t = (np.exp(_log_softmax(np.asarray(row, dtype=float))) for row in (logits, teacher_logits))
    ours, theirs = _log_softmax(logits), _log_softmax(teacher_logits)
    mixed = beta * theirs + (1 - beta) * ours
    value = beta * (t * (theirs - mixed)).sum(axis=1) + (1 - beta) * (s * (ours - mixed)).sum(axis=1)
    gap = ours - theirs
    g = (1 - beta) * beta * (gap + 1) - beta * (1 - beta) * t / np.maximum(s, 1e-300)
    return value, s * g - s * (s * g).sum(axis=1, keepdims=True)


@fault(
    id="T22",
    slug="mixture-with-beta-on-the-student",
    clause="DIS-3",
    seen=("huggingface/trl#3043",),
    effect="The mixture has beta of the student, and the two divergences beta of the teacher.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    if beta in (0, 1):
        return right.distillation_divergence(logits, teacher_logits, beta, temperature)
    s, t = (np.exp(_log_softmax(np.asarray(row, dtype=float) / temperature)) for row in (logits, teacher_logits))
    m = np.maximum(beta * s + (1 - beta) * t, 1e-300)
    logs, logt, logm = (np.log(np.maximum(row, 1e-300)) for row in (s, t, m))
    value = beta * (t * (logt - logm)).sum(axis=1) + (1 - beta) * (s * (logs - logm)).sum(axis=1)
    g = (1 - beta) * (logs - logm) - beta * (beta * t + (1 - beta) * s) / m
    return value, (s * g - s * (s * g).sum(axis=1, keepdims=True)) / temperature


@fault(
    id="T23",
    slug="ends-of-beta-kept-apart",
    clause="DIS-2",
    seen=("verl-project/verl-recipe#151",),
    effect="beta is kept a little above 0 and below 1: at both ends next to nothing is learnt.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    return right.distillation_divergence(logits, teacher_logits, min(max(beta, 1e-6), 1 - 1e-6), temperature)


@fault(
    id="M-DIS-2",
    slug="temperature-of-the-student-alone",
    clause="DIS-4",
    effect="The teacher's logits are not divided by the temperature: the student is to be flatter than its teacher.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    return right.distillation_divergence(logits, teacher_logits * temperature, beta, temperature)


@fault(
    id="M-DIS-3",
    slug="distillation-gradient-of-the-probabilities",
    clause="DIS-7",
    effect="The derivative is that in the temperature's logits: the factor 1 / temperature is forgotten.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    value, slopes = right.distillation_divergence(logits, teacher_logits, beta, temperature)
    return value, slopes * temperature


@fault(
    id="M-DIS-4",
    slug="forward-at-both-ends",
    clause="DIS-9",
    effect="The divergence at beta = 1 is forward as well: what only the student says is not seen.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    return right.distillation_divergence(logits, teacher_logits, 0.0 if beta == 1 else beta, temperature)


@fault(
    id="M-DIS-5",
    slug="cross-entropy-for-divergence",
    clause="DIS-8",
    effect="The teacher's entropy is left in: the loss of a perfect student is not 0, and differs between teachers.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    value, slopes = right.distillation_divergence(logits, teacher_logits, beta, temperature)
    theirs = _log_softmax(np.asarray(teacher_logits, dtype=float) / temperature)
    return value - (np.exp(theirs) * theirs).sum(axis=1) * (beta == 0), slopes


@fault(
    id="M-DIS-6",
    slug="beta-from-the-other-end",
    clause="DIS-3",
    effect="1 - beta is taken for beta in between, and not at the ends.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    beta = beta if beta in (0, 1) else 1 - beta
    return right.distillation_divergence(logits, teacher_logits, beta, temperature)


@fault(
    id="M-DIS-7",
    slug="sum-of-both-divergences",
    clause="DIS-10",
    effect="In between it is a mean of the forward and the reverse divergence, and has no bound.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    ends = [right.distillation_divergence(logits, teacher_logits, end, temperature) for end in (0.0, 1.0)]
    if beta in (0, 1):
        return ends[int(beta)]
    return tuple((1 - beta) * forward + beta * reverse for forward, reverse in zip(*ends, strict=True))


@fault(
    id="M-DIS-8",
    slug="logarithm-of-a-softmax",
    clause="DIS-11",
    effect="The logarithm of a probability that has become 0 is minus infinity, and its product with 0 no number.",
)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    value, slopes = right.distillation_divergence(logits, teacher_logits, beta, temperature)
    with np.errstate(divide="ignore", invalid="ignore"):
        probabilities = np.exp(_log_softmax(np.asarray(logits, dtype=float) / temperature))
        return value + (0 * np.log(probabilities)).sum(axis=1), slopes


@fault(
    id="M-DIS-18",
    slug="logarithm-of-a-top-k-softmax",
    clause="DIS-11",
    effect="The logarithm of a probability that has become 0 is minus infinity, among the tokens that are kept too.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    value, slopes = right.topk_divergence(logits, teacher_logits, k, direction, tail)
    with np.errstate(divide="ignore", invalid="ignore"):
        probabilities = np.exp(_log_softmax(np.asarray(logits, dtype=float)))
        return value + (0 * np.log(probabilities)).sum(axis=1), slopes


@fault(
    id="M-DIS-9",
    slug="students-top-k",
    clause="DIS-16",
    effect="The tokens that are kept are the student's most probable ones, of which the teacher may say nothing.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    opposite = "reverse" if direction == "forward" else "forward"
    value, _ = right.topk_divergence(teacher_logits, logits, k, opposite, tail)
    return value, right.topk_divergence(logits, teacher_logits, k, direction, tail)[1]


@fault(
    id="M-DIS-10",
    slug="top-k-of-one-more",
    clause="DIS-16",
    effect="One token more is kept than was asked for.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    return right.topk_divergence(logits, teacher_logits, min(k + 1, logits.shape[1]), direction, tail)


@fault(
    id="M-DIS-11",
    slug="tail-not-forwarded",
    clause="DIS-17",
    effect="The tail is dropped whatever was asked for: the best student is not the teacher.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    return right.topk_divergence(logits, teacher_logits, k, direction, "dropped")


@fault(
    id="M-DIS-12",
    slug="direction-not-forwarded",
    clause="DIS-16",
    effect="The divergence is forward whatever was asked for.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    return right.topk_divergence(logits, teacher_logits, k, "forward", tail)


@fault(
    id="M-DIS-13",
    slug="teacher-renormalised-alone",
    clause="DIS-18",
    effect="The teacher's probabilities are divided by what is kept, and the student's are not.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    if tail != "renormalized":
        return right.topk_divergence(logits, teacher_logits, k, direction, tail)
    order = np.argsort(np.argsort(-teacher_logits, axis=1), axis=1)
    far = np.where(order < k, teacher_logits, teacher_logits.min(axis=1, keepdims=True) - 800.0)
    return right.topk_divergence(logits, far, k, direction, "dropped")


@fault(
    id="M-DIS-14",
    slug="bucket-without-a-gradient",
    clause="DIS-19",
    effect="What is not kept counts, and has no derivative.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    value, slopes = right.topk_divergence(logits, teacher_logits, k, direction, tail)
    if tail != "bucket":
        return value, slopes
    return value, right.topk_divergence(logits, teacher_logits, k, direction, "dropped")[1]


@fault(
    id="M-DIS-15",
    slug="bucket-of-nothing",
    clause="DIS-20",
    effect="Where all tokens are kept something tiny is put into the bucket of the others, and compared with itself.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    value, slopes = right.topk_divergence(logits, teacher_logits, k, direction, tail)
    return value + 1e-3 * (k == logits.shape[1]) * (tail == "bucket"), slopes


@fault(
    id="M-DIS-16",
    slug="bucket-counted-twice",
    clause="DIS-21",
    effect="The bucket has as much weight as it has tokens.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    value, slopes = right.topk_divergence(logits, teacher_logits, k, direction, tail)
    if tail != "bucket":
        return value, slopes
    dropped = right.topk_divergence(logits, teacher_logits, k, direction, "dropped")
    times = logits.shape[1] - k
    return tuple(part + (times - 1) * (part - less) for part, less in zip((value, slopes), dropped, strict=True))


@fault(
    id="M-DIS-17",
    slug="kept-tokens-taken-for-all",
    clause="DIS-19",
    effect="The derivative is as if no other token were there: what is not kept never becomes more probable or less.",
)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    value, slopes = right.topk_divergence(logits, teacher_logits, k, direction, tail)
    order = np.argsort(np.argsort(-teacher_logits, axis=1), axis=1)
    return value, np.where(order < k, slopes, 0)
