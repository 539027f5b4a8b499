"""How samples stand that libraries with groups of one size are given."""

import numpy as np


def size_of_groups(groups):
    """How many samples each group has, if all have as many and stand one after the other; otherwise declined."""
    names, sizes = np.unique(groups, return_counts=True)
    groups = np.asarray(groups).reshape(len(names), -1) if len(set(sizes)) == 1 else np.array([[0, 1]])
    if (groups != groups[:, :1]).any():
        raise NotImplementedError("groups of one size, one after the other")
    return int(sizes[0])
