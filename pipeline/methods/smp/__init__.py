"""SMP, a scorer that is fitted once per base model: the method, the fit, and the files that keep it."""

from pipeline.methods.smp.files import base_fingerprint, check_fitted, find_fitted
from pipeline.methods.smp.fit import DEFAULT_STEPS, Fit, Fitted, fit_pruner, prepare_fit
from pipeline.methods.smp.smp import HeadScorer, Smp

__all__ = [
    "DEFAULT_STEPS",
    "Fit",
    "Fitted",
    "HeadScorer",
    "Smp",
    "base_fingerprint",
    "check_fitted",
    "find_fitted",
    "fit_pruner",
    "prepare_fit",
]
