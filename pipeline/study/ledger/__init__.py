"""The ledger: which trials a study has, what each was given, and how each ended."""

from pipeline.study.ledger.lease import Holder, Lease, LeaseLost, hold, holder_of
from pipeline.study.ledger.ledger import Counts, Found, Ledger, LedgerLost, open_ledger
from pipeline.study.ledger.samplers import check_sampler

__all__ = [
    "Counts",
    "Found",
    "Holder",
    "Lease",
    "LeaseLost",
    "Ledger",
    "LedgerLost",
    "check_sampler",
    "hold",
    "holder_of",
    "open_ledger",
]
