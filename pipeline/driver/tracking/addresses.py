"""Addresses of databases and servers, as messages may show them: without what is secret in them."""

from __future__ import annotations

import re
from urllib.parse import unquote

# scheme://user:password@place?options, where it is beyond doubt what of it is secret
_PLAIN = re.compile(
    r"(?P<scheme>[\w+-]+)://(?:[^/@?#:]*(?::(?P<password>[^/@?#]*))?@)?(?P<place>[^@?#]*)(?:[?#](?P<options>[^@]*))?"
)


def shown(address: str) -> str:
    """The address without user, password and options; nothing of it if it is in doubt where those end."""
    match = _PLAIN.fullmatch(address)
    return f"{match['scheme']}://{match['place']}" if match else "the address given"


def cause_of(error: BaseException, address: str) -> str:
    """What is behind an error, in a line: the system's own words if it has any; never a secret of the address."""
    chain = list(_chain(error))
    for link in reversed(chain):
        if isinstance(link, OSError) and link.errno is not None and link.strerror:
            return f"{type(link).__name__}: {link.strerror}"
    last = chain[-1]
    line = (str(last).splitlines() or [""])[0].strip()
    return f"{type(last).__name__}: {line}" if line and not _tells(line, address) else type(last).__name__


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and what it came from, and so on."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
        chain.append(before)
    return chain


def _tells(line: str, address: str) -> bool:
    """Whether a line might tell what is secret in an address."""
    match = _PLAIN.fullmatch(address)
    if match is None:
        return True
    secrets = [match["password"] or "", *re.split("[&=#]", match["options"] or "")]
    return any(secret and (secret in line or unquote(secret) in line) for secret in secrets)
