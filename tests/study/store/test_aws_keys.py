"""Where keys and region of S3 are found: the environment, then the profile in the user's AWS files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.study.records import BadInput
from pipeline.study.store.aws_keys import IN_ENVIRONMENT, keys_and_region

CREDENTIALS = "[default]\naws_access_key_id = A\naws_secret_access_key = B%C\n[work]\naws_access_key_id = W\n"
CONFIG = (
    "[default]\nregion = eu-west-1\n[profile work]\nregion = eu-west-2\n[profile sso]\nsso_session = corp\n"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*IN_ENVIRONMENT, "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, text in (("credentials", CREDENTIALS), ("config", CONFIG)):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path


def test_the_default_profile_is_read(home: Path) -> None:
    keys = {"aws_access_key_id": "A", "aws_secret_access_key": "B%C", "region": "eu-west-1"}
    assert keys_and_region(default=None) == (keys, None)


def test_a_named_profile_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert keys_and_region(default=None) == ({"aws_access_key_id": "W", "region": "eu-west-2"}, None)


def test_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "E")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert keys_and_region(default="us-east-1") == ({"region": "us-west-2"}, None)


def test_without_files_the_machines_role_is_asked(home: Path) -> None:
    (home / "credentials").write_bytes(b"\xff\xfe no file of theirs")
    (home / "config").unlink()
    assert keys_and_region(default=None) == ({}, None)
    assert keys_and_region(default="us-east-1") == ({"region": "us-east-1"}, None)


def test_another_way_to_keys_needs_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "sso")
    monkeypatch.setitem(sys.modules, "obstore.auth.boto3", None)
    with pytest.raises(BadInput, match=r"'sso' has no keys, but sso_session.*pip install boto3"):
        keys_and_region(default=None)
