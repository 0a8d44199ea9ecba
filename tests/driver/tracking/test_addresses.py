"""No message shows what is secret in an address."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.driver.tracking.addresses import cause_of, shown

# what people put into passwords, percent-encoded or not, and what breaks parsers; none is part of an English word
SECRETS = st.text("QZ7@:/?#%[]&=+", min_size=5, max_size=12).filter(
    lambda text: sum(c in "QZ7" for c in text) >= 3
)
TEMPLATES = (
    "http://user:{}@host.example:5000/prefix",
    "postgresql+psycopg://user:{}@host/db?sslmode=require",
    "https://host.example/?token={}",
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://user:s3cret@host.example/mlflow?token=x#y", "https://host.example/mlflow"),
        ("sqlite:////a folder/mlflow.db", "sqlite:////a folder/mlflow.db"),
        ("postgresql+psycopg://u:p@host:5432/db", "postgresql+psycopg://host:5432/db"),
        ("http://user:sla/sh@host", "the address given"),
        ("no address", "the address given"),
    ],
)
def test_shown_by_hand(address: str, expected: str) -> None:
    assert shown(address) == expected


@given(st.sampled_from(TEMPLATES), SECRETS)
def test_secrets_are_never_shown(template: str, secret: str) -> None:
    address = template.format(secret)
    told = shown(address) + cause_of(ValueError(f"cannot reach {address} with {secret}"), address)
    assert secret not in told


def test_the_systems_own_words_come_first() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    outer = RuntimeError("API request to http://user:s3cret@host failed")
    outer.__cause__ = refused
    assert cause_of(outer, "http://user:s3cret@host") == "ConnectionRefusedError: Connection refused"


def test_a_plain_cause_is_shown_and_a_loop_of_causes_ends() -> None:
    error = ValueError("file is not a database\nand more")
    error.__context__ = error
    assert cause_of(error, "sqlite:////x.db") == "ValueError: file is not a database"
    assert cause_of(ValueError("the key Q7Q7Q7 is wrong"), "http://u:Q7Q7Q7@host") == "ValueError"
