"""The ledger: a study's trials, the parameters of each, and how each ended."""

from pipeline.study.ledger.lease import Holder, Lease, LeaseLost, hold, holder_of
from pipeline.study.ledger.ledger import Counts, Found, Ledger, LedgerLost, open_ledger
from pipeline.study.ledger.samplers import check_sampler, quiet_optuna

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
    "quiet_optuna",
]
