"""SNIP with settings under which its penalty and scores are computed by hand."""

from __future__ import annotations

from pipeline.methods.snip.snip import Snip

PLAIN = {
    "penalty_strength": 1.0,
    "shape": "linear",
    "delta": 0.02,
    "norm": "rms",
    "reference": "none",
    "unit_weight": "uniform",
    "ffn_weight": 1.0,
    "level": "block",
    "spectral_bound": "off",
    "bound_absolute": 2.0,
    "bound_relative": 0.5,
    "bound_scope": "branch",
    "bound_warmup": 0.0,
}


def snip(**changes) -> Snip:
    return Snip(**(PLAIN | changes))
