"""The laws that every pruning method keeps, for the methods of this package and for those of other packages.

from prunefront import check_method
check_method(MyMethod, {"level": "head"})
"""

from pipeline.trial.conformance.check import LAWS, check_method, subject_of
from pipeline.trial.conformance.subject import Subject

__all__ = ["LAWS", "Subject", "check_method", "subject_of"]
