"""Whether a study is searched now, was stopped or is complete, and when it last changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pipeline.study.records import BadInput
from pipeline.study.store import JOURNAL, SQLITE, Store, StudyStore, sqlite_url

State = Literal["running", "stopped", "complete", "unknown"]
LATELY_S = 90.0  # a driver notes every 30 s what it has used
NEED_NO_PASSWORD = (SQLITE, JOURNAL)  # ledgers
TOUCHED = (
    "spec.json",
    "spent.json",
    "asked.json",
    "points.arrow",
)  # what a driver writes in a study's folder


@dataclass(frozen=True)
class SearchState:
    """What a study's search has come to."""

    state: State  # unknown: an earlier version searched it
    ended: int  # trials
    asked: int  # trials that the last search was to have; 0: not noted
    changed_s: float  # seconds since 1970; in a bucket, as far as this machine knows

    @property
    def day(self) -> str:
        """The local day and time of the last change."""
        return f"{datetime.fromtimestamp(self.changed_s, UTC).astimezone():%Y-%m-%d %H:%M}"

    @property
    def count(self) -> str:
        """The trials that have ended: "2 of 5", of a complete study "5"."""
        return f"{self.ended} of {self.asked}" if self.state in ("running", "stopped") else str(self.ended)

    @property
    def sentence(self) -> str:
        """What a reader of an unfinished front should know; empty if the study is complete."""
        if self.state == "running":
            return f"{self.count} trials, running: the front is not final."
        if self.state == "stopped":
            return f"{self.count} trials, stopped {self.day}: the same search command continues it."
        return ""


def search_state(store: Store, study: str, *, ended: int) -> SearchState:
    """Return the state of a study with `ended` trials.

    An unfinished study runs if a driver holds its lease. Where its ledger is a server, which needs a password, it
    runs if its files have changed in the last 90 s.
    """
    files = store.study(study)
    asked, changed_s = files.asked.read(), _changed_s(files)
    state: State = "unknown"
    if asked.done:
        state = "complete"
    elif asked.trials:
        state = "running" if _is_held(store, files, changed_s) else "stopped"
    return SearchState(state, ended, asked.trials, changed_s)


def _is_held(store: Store, files: StudyStore, changed_s: float) -> bool:
    place = files.ledger.read().place
    if place.startswith(NEED_NO_PASSWORD):
        from pipeline.study.ledger import holder_of  # SQLAlchemy, which complete studies do without

        in_store = place.startswith(SQLITE) and store.studies_db.exists()
        url = sqlite_url(store.studies_db) if in_store else place
        try:
            return holder_of(url, files.name) is not None
        except BadInput:  # a database that cannot be opened
            pass
    return time.time() - changed_s < LATELY_S


def _changed_s(files: StudyStore) -> float:
    paths = (files.folder / name for name in TOUCHED)
    return max((path.stat().st_mtime for path in paths if path.is_file()), default=0.0)
