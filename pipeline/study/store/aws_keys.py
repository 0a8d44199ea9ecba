"""Keys and region of S3, found as AWS's own programs find them: environment, role of the machine, the user's files.

obstore knows the environment, roles of machines and containers, and web identities. The user's files are read here;
what is in them beside keys (single sign-on, roles to assume) needs boto3.
"""

from __future__ import annotations

import os
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Any

from pipeline.study.records import BadInput

KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
OTHERS = ("sso_session", "sso_start_url", "role_arn", "credential_process", "web_identity_token_file")
IN_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def keys_and_region(*, default: str | None) -> tuple[dict[str, str], Any]:
    """Return what obstore is to know beside the environment, and what it asks for keys, None if it finds them itself.

    Args:
        default: the region if none is set.

    Raises:
        BadInput: the user's files name another way to keys, and boto3, which knows it, is missing.
    """
    profile = _profile()
    found: dict[str, str] = {}
    region = (
        os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or profile.get("region")
        or default
    )
    if region:
        found["region"] = region
    if any(os.environ.get(name) for name in IN_ENVIRONMENT):
        return found, None
    if "aws_access_key_id" in profile:
        return found | {key: profile[key] for key in KEYS if key in profile}, None
    if not any(key in profile for key in OTHERS):
        return found, None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        way = next(key for key in OTHERS if key in profile)
        raise BadInput(
            f"The AWS profile {_profile_name()!r} has no keys, but {way}, which boto3 knows: pip install boto3, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    return found, Boto3CredentialProvider()


def _profile_name() -> str:
    return os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"


def _profile() -> dict[str, str]:
    """Return what the user's files say; of keys that both have, the credentials file's."""
    name, found = _profile_name(), dict[str, str]()
    sections = (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    )
    for variable, file, section in sections:
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(os.environ.get(variable) or Path.home() / ".aws" / file, encoding="utf-8")
        except (Error, OSError, RuntimeError, UnicodeDecodeError):  # not theirs, or no home
            continue
        if parser.has_section(section):
            found |= dict(parser[section])
    return found
