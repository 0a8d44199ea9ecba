"""Addresses of databases and servers, as messages may show them: without secrets."""

from __future__ import annotations

import re
from urllib.parse import unquote

# scheme://user:password@place?options, where it is certain which parts are secret
_PLAIN = re.compile(
    r"(?P<scheme>[\w+-]+)://(?:[^/@?#:]*(?::(?P<password>[^/@?#]*))?@)?(?P<place>[^@?#]*)(?:[?#](?P<options>[^@]*))?"
)


def shown(address: str) -> str:
    """Return the address without user, password and options; nothing of it if it is in doubt where those end."""
    match = _PLAIN.fullmatch(address)
    return f"{match['scheme']}://{match['place']}" if match else "the address given"


def cause_of(error: BaseException, address: str) -> str:
    """Return the cause of an error in a line: the system's own message if there is one; never a secret."""
    chain = list(_chain(error))
    for link in reversed(chain):
        if isinstance(link, OSError) and link.errno is not None and link.strerror:
            return f"{type(link).__name__}: {link.strerror}"
    last = chain[-1]
    line = (str(last).splitlines() or [""])[0].strip()
    return f"{type(last).__name__}: {line}" if line and not _reveals(line, address) else type(last).__name__


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error and its causes."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
        chain.append(before)
    return chain


def _reveals(line: str, address: str) -> bool:
    """Return whether a line might reveal a secret of an address."""
    match = _PLAIN.fullmatch(address)
    if match is None:
        return True
    secrets = [match["password"] or "", *re.split("[&=#]", match["options"] or "")]
    return any(secret and (secret in line or unquote(secret) in line) for secret in secrets)
