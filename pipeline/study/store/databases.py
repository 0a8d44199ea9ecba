"""URLs of database files and of journals, whatever characters their paths have."""

from __future__ import annotations

from pathlib import Path

SQLITE = "sqlite:///"
JOURNAL = "journal://"  # then the path of a folder, absolute or not: journal:///shared/ledger
ESCAPED = "%?{}"  # characters that SQLAlchemy, or Optuna before it, reads as something else than a path


def sqlite_url(path: Path) -> str:
    """Return the URL by which SQLAlchemy opens this file and no other; of an ordinary path it is the path as it is."""
    if not any(each in str(path) for each in ESCAPED):
        return f"{SQLITE}{path}"
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def sqlite_file(url: str) -> Path | None:
    """Return the file that a URL of `sqlite:///` opens; None for another URL."""
    if not url.startswith(SQLITE):
        return None
    from sqlalchemy import make_url

    return Path(make_url(url).database or "")


def journal_folder(url: str) -> Path | None:
    """Return the folder of a journal's URL; None for another URL."""
    return Path(url.removeprefix(JOURNAL)).expanduser().absolute() if url.startswith(JOURNAL) else None
