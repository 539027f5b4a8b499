"""Ways to say what length costs."""

import numpy as np

from .catalogue import way


@way("by interpolation, or along the line")
def overlong_penalty(style, choices, lengths, max_length, buffer, factor):
    over = (np.asarray(lengths) - (max_length - buffer)).astype(style.dtype) / style.dtype(buffer)
    most = style.dtype(1) if choices["beyond"] == "held" else np.inf
    return -style.dtype(factor) * np.clip(over, style.dtype(0), most)
