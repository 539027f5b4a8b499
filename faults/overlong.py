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
