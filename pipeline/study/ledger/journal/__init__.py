"""A ledger without a server: a file for each study in a folder that all machines share."""

from pipeline.study.ledger.journal.journal import Journal

__all__ = ["Journal"]
