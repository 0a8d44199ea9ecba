"""Passwords on the command line, which everybody on the machine reads, and Ray's job table keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PASSWORD = re.compile(r"://[^/\s]*:[^/\s]+@")
_OPTION = re.compile(r"password|passwd|^pass$|secret|token", re.IGNORECASE)  # of a URL; passfile is a path


def refuse_passwords(arguments: Sequence[str]) -> None:
    """Refuse a URL with a password in it, before its host or among its options; the message does not repeat it.

    Raises:
        BadInput: an argument has one.
    """
    if any(_PASSWORD.search(each) or _has_option(each) for each in arguments):
        from pipeline.study.records import BadInput

        raise BadInput(
            "An address has a password, and everybody on the machine can read a command line. Leave it out there: a "
            "ledger's is in PGPASSWORD or ~/.pgpass, MLflow's in MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or its whole address in MLFLOW_TRACKING_URI."
        )


def _has_option(argument: str) -> bool:
    """Return whether a URL has a password among its options, `?user=me&password=...`, also in a spelling with %."""
    address, _, query = argument.partition("?")
    if "://" not in address or not query:
        return False
    from urllib.parse import parse_qsl

    return any(value and _OPTION.search(name) for name, value in parse_qsl(query))
