"""What of a search is secret, by the name of the environment variable that holds it; and addresses that tell one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pipeline.study.records import BadInput

_SECRET_OPTIONS = re.compile(r"pass|secret|token|key", re.IGNORECASE)


@dataclass(frozen=True)
class Secret:
    """A variable that a process finds in its environment. `key` names it in a Kubernetes Secret."""

    variable: str
    key: str
    needed: bool  # whether the search cannot do without; others may come from a role or an open server


RAY_TOKEN = Secret("RAY_AUTH_TOKEN", "auth_token", True)
OF_LEDGER = (Secret("PGPASSWORD", "ledger_password", True),)
OF_TRACKING = (
    Secret("MLFLOW_TRACKING_USERNAME", "mlflow_username", False),
    Secret("MLFLOW_TRACKING_PASSWORD", "mlflow_password", False),
)
OF_OBJECT_STORE = (
    Secret("AWS_ACCESS_KEY_ID", "aws_access_key_id", False),
    Secret("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key", False),
)


def refuse_secret(option: str, address: str, *, way_out: str) -> None:
    """Refuses an address with a password in it, or in its options, without repeating it.

    Raises:
        BadInput: it tells one, or cannot be read.
    """
    try:
        parts = urlsplit(address)
        tells = parts.password is not None or (parts.scheme.startswith("http") and parts.username is not None)
        tells = tells or any(_SECRET_OPTIONS.search(name) for name, _ in parse_qsl(parts.query))
    except ValueError:
        tells = True
    if tells or parts.netloc.count("@") > 1:
        raise BadInput(
            f"Secrets stand in no manifest; the address given by {option} has one in it. Leave it out there: {way_out}"
        )
