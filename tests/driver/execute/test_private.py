"""What Ray writes on this machine is the user's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.driver.execute.private import is_open, keep_token, session_folder


def mode(path: Path | str) -> str:
    return oct(Path(path).stat().st_mode & 0o777)


def test_the_token_is_made_and_kept_for_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    keep_token()
    token = tmp_path / ".ray" / "auth_token"
    made = token.read_text()
    assert (mode(token), mode(token.parent), len(made)) == ("0o600", "0o700", 64)
    token.chmod(0o644)  # as Ray makes it
    keep_token()
    assert (mode(token), token.read_text()) == ("0o600", made)


def test_without_a_home_the_token_is_in_the_folder_of_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR"):
        monkeypatch.setenv(name, "")  # as unset, and so that it is unset again afterwards
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    keep_token()
    token = tmp_path / f"prunefront-{os.getuid()}" / "auth_token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(token)
    assert (mode(token), mode(token.parent), len(token.read_text())) == ("0o600", "0o700", 64)


def test_sessions_are_in_a_folder_that_nobody_else_enters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    own = tmp_path / f"prunefront-{os.getuid()}"
    assert session_folder() == str(own)
    own.chmod(0o777)
    assert session_folder() == str(own)
    assert mode(own) == "0o700"
    own.rmdir()
    (tmp_path / "theirs").mkdir()
    own.symlink_to(tmp_path / "theirs")  # somebody else was here first
    other = session_folder()
    assert other is not None
    assert Path(other).parent == tmp_path
    assert (Path(other) != own, mode(other)) == (True, "0o700")
    monkeypatch.setenv("RAY_TMPDIR", "/somewhere")
    assert session_folder() is None


@pytest.mark.parametrize(("value", "found"), [("disabled", True), ("token", False), ("", False)])
def test_a_disabled_token_is_noticed(value: str, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", value)
    assert is_open() is found
