"""The ledger: which trials a study has, what each was given, and how each ended."""

from pipeline.study.ledger import Ask, Counts, Found, Ledger, open_ledger
from pipeline.study.samplers import check_sampler

__all__ = ["Ask", "Counts", "Found", "Ledger", "check_sampler", "open_ledger"]
