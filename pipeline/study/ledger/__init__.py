"""The ledger: a study's trials, the parameters of each, and how each ended."""

from pipeline.study.ledger.earlier import Counts, Found
from pipeline.study.ledger.lease import Holder, Lease, check_opens, hold, holder_of
from pipeline.study.ledger.ledger import Ledger, open_ledger
from pipeline.study.ledger.samplers import quiet_optuna
from pipeline.study.ledger.storage import CommitsLost, LeaseLost, LedgerLost, NotOpened, shown

__all__ = [
    "CommitsLost",
    "Counts",
    "Found",
    "Holder",
    "Lease",
    "LeaseLost",
    "Ledger",
    "LedgerLost",
    "NotOpened",
    "check_opens",
    "hold",
    "holder_of",
    "open_ledger",
    "quiet_optuna",
    "shown",
]
