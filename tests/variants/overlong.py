"""What length costs, written another way."""

import numpy as np
import torch

from .registry import variant


@variant("by a clamp", quick=True)
def overlong_penalty(lengths, max_length, buffer, factor):
    over = (torch.tensor(np.array(lengths)).double() - (max_length - buffer)) / buffer
    return -factor * over.clamp(0, 1)


@variant("as a minimum, without an end")
def overlong_penalty(lengths, max_length, buffer, factor):
    return [min(-(int(length) - (max_length - buffer)) / buffer * factor, 0.0) for length in lengths]
