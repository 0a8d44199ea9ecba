"""Passwords on the command line, which everybody on the machine reads, and Ray's job table keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PASSWORD = re.compile(r"://[^/\s]*:[^/\s]+@")


def refuse_passwords(arguments: Sequence[str]) -> None:
    """Refuse a URL with a password in it; the message does not repeat it.

    Raises:
        BadInput: an argument has one.
    """
    if any(_PASSWORD.search(each) for each in arguments):
        from pipeline.study.records import BadInput

        raise BadInput(
            "A command line has no passwords, since everybody on the machine can read it; one of its addresses has. "
            "Leave it out there: a ledger's is in PGPASSWORD or ~/.pgpass, MLflow's in MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or its whole address in MLFLOW_TRACKING_URI."
        )
