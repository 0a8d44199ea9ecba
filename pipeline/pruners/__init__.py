"""Pruners that are fitted once per base model, and found again by it."""

from pipeline.pruners.fitting import DEFAULT_STEPS, Fit, Fitted, fit_pruner
from pipeline.pruners.keeping import base_fingerprint, check_fitted, find_fitted

__all__ = [
    "DEFAULT_STEPS",
    "Fit",
    "Fitted",
    "base_fingerprint",
    "check_fitted",
    "find_fitted",
    "fit_pruner",
]
