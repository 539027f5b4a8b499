"""Honest candidates, drawn at random: a measure of how fair the properties are.

A candidate is a convention from each family of the specification, a way to compute each of its operations, and a style
that settles everything else.  None of it calls the reference.
"""

from . import (
    advantages,
    agents,
    correction,
    decision_process,
    distillation,
    distributions,
    group,
    kl,
    language,
    losses,
    overlong,
    preference,
    reductions,
    replay,
    returns,
    statistics,
    surrogate,
    targets,
    turns,
)
from .candidates import Honest, Trial, draw, trial
from .catalogue import WAYS

__all__ = [
    "WAYS",
    "Honest",
    "Trial",
    "advantages",
    "agents",
    "correction",
    "decision_process",
    "distillation",
    "distributions",
    "draw",
    "group",
    "kl",
    "language",
    "losses",
    "overlong",
    "preference",
    "reductions",
    "replay",
    "returns",
    "statistics",
    "surrogate",
    "targets",
    "trial",
    "turns",
]
