"""Passwords on the command line are refused, wherever in an address they stand; the message does not repeat them."""

from __future__ import annotations

import pytest

from pipeline.cli.passwords import refuse_passwords
from pipeline.study.records import BadInput

WORD = "hunter2verysecret"


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://me:{WORD}@h/d",
        f"postgresql://me:{WORD}@@h/d",
        f"postgresql://h/d?user=me&password={WORD}&x=1",
        f"postgresql://h/d?user=me&pass%77ord={WORD}",
        f"postgresql://h/d?sslpassword={WORD}",
        f"https://mlflow.example.org/?token={WORD}",
        f"--ledger=postgresql://h/d?PASSWORD={WORD}",
    ],
)
def test_a_password_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(BadInput, match="An address has a password") as refused:
        refuse_passwords(["search", "--ledger", address])
    assert WORD not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me@h:5432/d?sslmode=require&passfile=/home/me/.pgpass",
        "postgresql://h/d?password=",
        "sqlite:////folder/studies.db",
        "what is a token?password=1",  # no address
    ],
)
def test_addresses_without_one_pass(address: str) -> None:
    refuse_passwords(["search", "--ledger", address])
