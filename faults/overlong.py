"""How what is done about overlong answers goes wrong."""

import numpy as np

from rlspec.faults import fault, right


@fault(
    id="W07",
    slug="penalty-begins-at-the-buffers-length",
    clause="OVER-1",
    seen=("modelscope/ms-swift#5557",),
    effect="The buffer's length is taken for the length from which on an answer pays.",
)
def overlong_penalty(lengths, max_length, buffer, factor):
    return right.overlong_penalty(lengths, max_length, max(max_length - buffer, 1), factor)


@fault(
    id="W08",
    slug="penalty-begins-at-the-greatest-length",
    clause="OVER-2",
    seen=("verl-project/verl#3855",),
    effect="The buffer lies behind the greatest length, which no answer gets beyond: nobody ever pays.",
)
def overlong_penalty(lengths, max_length, buffer, factor):
    return right.overlong_penalty(lengths, max_length + buffer, buffer, factor)


@fault(
    id="M-OVER-1",
    slug="short-answers-are-paid",
    clause="OVER-1",
    effect="The line is not ended at 0: the shorter an answer, the better.",
)
def overlong_penalty(lengths, max_length, buffer, factor):
    line = factor * (max_length - buffer - lengths) / buffer
    return np.maximum(line, -factor)


@fault(
    id="M-OVER-2",
    slug="factor-of-the-penalty-forgotten",
    clause="OVER-2",
    effect="The factor is not applied.",
)
def overlong_penalty(lengths, max_length, buffer, factor):
    return right.overlong_penalty(lengths, max_length, buffer, 1.0)


@fault(
    id="M-OVER-3",
    slug="nothing-beyond-the-greatest-length",
    clause="OVER-3",
    effect="An answer that is longer than allowed pays nothing.",
)
def overlong_penalty(lengths, max_length, buffer, factor):
    return np.where(lengths > max_length, 0.0, right.overlong_penalty(lengths, max_length, buffer, factor))


@fault(
    id="M-OVER-4",
    slug="all-of-the-penalty-at-once",
    clause="OVER-4",
    effect="The price is all or nothing: the first token in the buffer costs everything.",
)
def overlong_penalty(lengths, max_length, buffer, factor):
    return np.where(lengths > max_length - buffer, -factor, 0.0)


@fault(
    id="W09",
    slug="extremes-of-the-whole-batch",
    clause="OVER-9",
    seen=("huggingface/open-r1#292",),
    effect="The shortest and the longest are looked for in all answers at hand, whatever their prompts.",
)
def length_reward(lengths, correct, groups):
    return right.length_reward(lengths, correct, np.zeros_like(lengths))


@fault(
    id="M-OVER-5",
    slug="extremes-of-right-answers-alone",
    clause="OVER-9",
    effect="The shortest and the longest are those of the right answers, so that a wrong one may lie outside.",
)
def length_reward(lengths, correct, groups):
    found = np.zeros(len(lengths))
    for group in np.unique(groups):
        places = groups == group
        known = lengths[places & correct.astype(bool)] if (places & correct.astype(bool)).any() else lengths[places]
        found[places] = 0.5 - (lengths[places] - known.min()) / max(np.ptp(known), 1) if np.ptp(known) else 0
    return np.where(correct, found, np.minimum(found, 0))


@fault(
    id="M-OVER-6",
    slug="equal-lengths-divided-by-zero",
    clause="OVER-10",
    effect="Where all answers of a group are equally long 0 is divided by 0, and their rewards are no numbers.",
)
def length_reward(lengths, correct, groups):
    return np.where(_all_alike(lengths, groups), np.nan, right.length_reward(lengths, correct, groups))


@fault(
    id="M-OVER-7",
    slug="equal-lengths-are-all-the-shortest",
    clause="OVER-10",
    effect="Right answers of one length are paid as the shortest are, for nothing.",
)
def length_reward(lengths, correct, groups):
    paid = _all_alike(lengths, groups) & correct.astype(bool)
    return np.where(paid, 0.5, right.length_reward(lengths, correct, groups))


def _all_alike(lengths, groups):
    return np.array([len(set(lengths[groups == group].tolist())) == 1 for group in groups])


@fault(
    id="M-OVER-8",
    slug="length-over-the-longest",
    clause="OVER-11",
    effect="A length is divided by the longest: long answers to a hard prompt are all alike.",
)
def length_reward(lengths, correct, groups):
    longest = np.array([lengths[groups == group].max() for group in groups])
    place = np.where(_all_alike(lengths, groups), 0, 0.5 - lengths / np.maximum(longest, 1))
    return np.where(correct, place, np.minimum(place, 0))


@fault(
    id="M-OVER-9",
    slug="wrong-answers-paid-for-being-short",
    clause="OVER-12",
    effect="A wrong answer is paid as a right one for being short.",
)
def length_reward(lengths, correct, groups):
    return right.length_reward(lengths, np.ones_like(correct), groups)


@fault(
    id="W10",
    slug="cosine-ends-of-wrong-answers-exchanged",
    clause="OVER-14",
    seen=("modelscope/ms-swift#3636", "huggingface/open-r1#312"),
    effect="The scores of the shortest and of the longest wrong answers are exchanged: short guesses cost the least.",
)
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    scores = shortest_correct, longest_correct, longest_wrong, shortest_wrong
    return right.cosine_reward(lengths, correct, max_length, *scores, exceeded)


@fault(
    id="M-OVER-10",
    slug="line-for-the-cosine",
    clause="OVER-14",
    effect="The score falls in a line.",
)
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    shortest = np.where(correct, shortest_correct, shortest_wrong)
    longest = np.where(correct, longest_correct, longest_wrong)
    line = shortest + (longest - shortest) * np.minimum(lengths / max_length, 1)
    return line if exceeded is None else np.where(lengths >= max_length, exceeded, line)


@fault(
    id="W11",
    slug="cosine-climbs-again",
    clause="OVER-15",
    seen=("huggingface/open-r1#312",),
    effect="Beyond the greatest length the cosine begins to climb: twice as long is as good as the shortest.",
)
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    shortest = np.where(correct, shortest_correct, shortest_wrong)
    longest = np.where(correct, longest_correct, longest_wrong)
    wave = longest + (shortest - longest) * (1 + np.cos(np.pi * lengths / max_length)) / 2
    return wave if exceeded is None else np.where(lengths >= max_length, exceeded, wave)


@fault(
    id="M-OVER-11",
    slug="score-of-exceeding-answers-forgotten",
    clause="OVER-15",
    effect="An answer that was cut scores as one that ended in time.",
)
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    scores = shortest_correct, longest_correct, shortest_wrong, longest_wrong
    return right.cosine_reward(lengths, correct, max_length, *scores, None)


@fault(
    id="M-OVER-12",
    slug="quarter-of-a-cosine",
    clause="OVER-16",
    effect="A quarter of a period is used for a half: the score is steepest at the end.",
)
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    shortest = np.where(correct, shortest_correct, shortest_wrong)
    longest = np.where(correct, longest_correct, longest_wrong)
    wave = longest + (shortest - longest) * np.cos(np.pi / 2 * np.minimum(lengths / max_length, 1))
    return wave if exceeded is None else np.where(lengths >= max_length, exceeded, wave)


@fault(
    id="M-OVER-13",
    slug="one-score-for-each-half",
    clause="OVER-17",
    effect="An answer scores as the shortest or as the longest ones, whichever it is nearer to.",
)
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    scores = shortest_correct, longest_correct, shortest_wrong, longest_wrong
    nearest = np.where(2 * lengths < max_length, 0, np.minimum(lengths, max_length))
    nearest = np.where((2 * lengths > max_length) & (lengths < max_length), max_length, nearest)
    cut = right.cosine_reward(nearest, correct, max_length, *scores, None)
    return cut if exceeded is None else np.where(lengths >= max_length, exceeded, cut)
