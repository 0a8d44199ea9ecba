"""SNIP, spectral-normalised identity prior (arXiv 2010.01791): the method, its norms, its spectral bound."""

from pipeline.methods.snip.snip import NORM_FLOOR, Snip

__all__ = ["NORM_FLOOR", "Snip"]
