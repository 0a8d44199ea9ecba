"""The secrets of a search, by the environment variables that hold them; addresses that contain one are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pipeline.study.records import BadInput

_SECRET_OPTIONS = re.compile(r"pass|secret|token|key", re.IGNORECASE)


@dataclass(frozen=True)
class Secret:
    """An environment variable of a process. `key` names it in a Kubernetes Secret."""

    variable: str
    key: str
    needed: bool  # False: it may be left out, for a role or an open server


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
    """Refuse an address with a secret in it, without repeating it.

    Args:
        option: that gave the address.
        address: a URL.
        way_out: where the secret comes from instead.

    Raises:
        BadInput: the address contains a secret, or cannot be parsed.
    """
    try:
        parts = urlsplit(address)
        secret = parts.password is not None or (
            parts.scheme.startswith("http") and parts.username is not None
        )
        secret = secret or any(_SECRET_OPTIONS.search(name) for name, _ in parse_qsl(parts.query))
    except ValueError:
        secret = True
    # what stands after '#' is sent nowhere: only a secret would be put there
    if secret or parts.fragment or parts.netloc.count("@") > 1:
        raise BadInput(
            f"The address given by {option} has a secret, and a manifest contains none. Leave it out "
            f"there: {way_out}"
        )
