"""Softmaxes of the last axis, right and stable: what the faults of several chapters need."""

import numpy as np


def log_softmax(logits):
    """The logarithms of the probabilities."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits):
    """The probabilities, of which some may be 0."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
