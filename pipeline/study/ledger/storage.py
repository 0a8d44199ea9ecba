"""The ledger's storage in Optuna: what is stored of a study and of a trial.

Of Optuna's storages five methods are used beside `create_study` (create_new_trial, get_all_trials,
set_trial_user_attr, set_trial_state_values, and numbers to ids), because a Study has no way to write a running
trial whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

import optuna
from optuna.exceptions import OptunaError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from pipeline.study.ledger.frozen import is_pending, refuse_difference, same_but_anchors
from pipeline.study.ledger.tables import made_once
from pipeline.study.records import OBJECTIVES, BadInput, StudySpec
from pipeline.study.store import SQLITE_FULL

# User attributes. Of a study:
SPEC = "spec"  # the StudySpec as a dict, frozen
FORMAT_KEY = "format"  # of all that is written here; absent: 1
METRIC_NAMES = "study:metric_names"  # Optuna's own: other programs show the two values by them
# Of a trial:
PARAMS = "params"  # all its parameters. A trial without them was not completely drawn, and never counts
SAMPLER = "sampler"  # what the sampler noted about the study when it drew this trial
REASON = "reason"  # why it failed or was stopped
NONCE = "nonce"  # of the draw: a trial whose commit was not answered is recognised by it
REDUNDANT = "redundant"  # it was stopped because others are as good: for a sampler it is not a bad trial

FORMAT = 1  # counts up when something is written in a way that older programs would misread
BUSY_TIMEOUT_S = 60  # how long sqlite waits for another process's write
CONNECT_S = 10  # how long a server may take to answer; libpq alone waits for minutes
POSTGRES = "postgresql"
REFUSALS = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "pg_hba.conf",
)  # PostgreSQL's words
# scheme://user:password@host:port/database?options, where a part that may be secret is nowhere else
_PLAIN_URL = re.compile(
    r"(?P<scheme>[\w+]+)://(?:[^/@?:]*(?::(?P<password>[^@?]*))?@)?"
    r"(?P<place>[^/@?:]*(?::\d+)?(?:/[^@?:]*)?)(?:\?(?P<options>[^@]*))?"
)


class NotOpened(BadInput):
    """The ledger's database cannot be opened. `refused`: it answers, and refuses this user, password or name."""

    refused = False


class LedgerLost(RuntimeError):  # noqa: N818 (a fact about a database, not a fault of the program)
    """The ledger's database does not answer. Nothing is half-done: the same call, later, completes it."""

    @property
    def disk_full(self) -> bool:
        """Whether it is a file on a full disk: waiting does not help."""
        return SQLITE_FULL in str(self)


class CommitsLost(LedgerLost):
    """The ledger's database has lost trials that it had, as after a fail-over: the next start writes them again."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, in Optuna's terms: `values` are the objectives of a COMPLETE trial."""

    state: TrialState
    values: tuple[float, ...] | None
    reason: str
    redundant: bool = False


def directions() -> list[Literal["maximize", "minimize"]]:
    """Return the directions of the stored values, (metric, gain): both are maximised, whatever the objectives are."""
    return [OBJECTIVES["metric"].direction, "maximize"]


def open_study(url: str, spec: StudySpec) -> RDBStorage:
    """Open the storage at `url` with the study in it, created and frozen to `spec` if it is new.

    Raises:
        BadInput: the storage cannot be opened, or it holds another study of that name.
    """
    try:
        storage = made_once(lambda: RDBStorage(driver_url(url), engine_kwargs=engine_options(url)))
        study = _study(storage, spec.name)
        frozen = study.user_attrs.get(SPEC)
        if frozen is not None and _of_another_search(StudySpec.late_fields() | frozen, asdict(spec)):
            # its search ended before its dense network was trained, and this is another one
            optuna.delete_study(study_name=spec.name, storage=storage)
            study, frozen = _study(storage, spec.name), None
        if frozen is None and not study.get_trials(deepcopy=False):
            frozen = asdict(spec)  # the study is new, or its maker died before this line
            # as Study.set_metric_names, which warns that it is experimental
            storage.set_study_system_attr(
                study._study_id, METRIC_NAMES, [spec.metric_name, spec.second.short]
            )
            study.set_user_attr(FORMAT_KEY, FORMAT)
            study.set_user_attr(SPEC, frozen)
        written = int(study.user_attrs.get(FORMAT_KEY, FORMAT))
    except (SQLAlchemyError, OptunaError, ImportError, OSError, RuntimeError, ValueError) as error:
        raise cannot_open(url, error) from None  # the chain would show the URL with its password
    if written > FORMAT:
        raise BadInput(
            f"A program goes on with studies of its own version or an older one; {spec.name!r} in this ledger has "
            f"format {written}, this program knows up to {FORMAT}. Install a newer prunefront, or give another --name."
        )
    if frozen is None:
        raise BadInput(
            f"A study is continued by the program that made it; {spec.name!r} in this ledger has trials "
            "but no spec of ours. Give another --name."
        )
    refuse_difference(StudySpec.late_fields() | frozen, asdict(spec))
    return storage


def freeze(storage: RDBStorage, study_id: int, spec: StudySpec) -> None:
    """Write the spec of a study whose dense network is trained now."""
    storage.set_study_user_attr(study_id, SPEC, asdict(spec))


def _of_another_search(frozen: dict[str, Any], requested: dict[str, Any]) -> bool:
    return is_pending(frozen) and not same_but_anchors(frozen, requested)


def _study(storage: RDBStorage, name: str) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name=name, directions=directions(), load_if_exists=True)


def cannot_open(url: str, error: Exception) -> NotOpened:
    """Return the error for a ledger that cannot be opened, without the secrets of its URL."""
    if isinstance(error, ImportError) and url.startswith(POSTGRES):
        way_out = "Install its driver: pip install 'prunefront[postgresql]'."
    elif "database is locked" in str(error.__cause__ or error):
        way_out = (
            f"In {BUSY_TIMEOUT_S} s another program did not let go of it (a backup, a browser of databases, a "
            "program that hangs): end that one, then give the same command."
        )
    elif url.startswith("sqlite"):
        way_out = (
            "Give a URL such as sqlite:////folder/studies.db, in a folder that exists and can be written."
        )
    else:
        way_out = (
            f"Start the server, or correct --ledger; of a database server it is {POSTGRES}://USER@HOST/DATABASE, with "
            "the password in PGPASSWORD, of a file sqlite:////folder/studies.db."
        )
    found = NotOpened(
        f"The ledger is a database that Optuna can open; {shown(url)} cannot be opened ({cause_of(error, url)}). "
        f"{way_out}"
    )
    found.refused = isinstance(error, ImportError) or any(word in cause_of(error, url) for word in REFUSALS)
    return found


def is_asked(trial: FrozenTrial) -> bool:
    """Return whether all of a trial's parameters are stored."""
    return trial.user_attrs.get(PARAMS) is not None


def write_end(storage: BaseStorage, study_id: int, number: int, end: Outcome) -> None:
    """End a trial. The state is written last: before that, the trial still runs.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: the trial has ended already.
    """
    row = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    if end.reason:
        storage.set_trial_user_attr(row, REASON, end.reason)
    if end.redundant:
        storage.set_trial_user_attr(row, REDUNDANT, True)
    storage.set_trial_state_values(row, end.state, end.values)


def reopen(storage: RDBStorage, study_id: int, number: int) -> None:
    """Make an ended trial a running one again, with its parameters: in one transaction, which Optuna has not."""
    row = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    with storage.engine.begin() as connection:
        for statement in (
            "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = :row",
            "DELETE FROM trial_values WHERE trial_id = :row",
            f"DELETE FROM trial_user_attributes WHERE trial_id = :row AND key IN ('{REASON}', '{REDUNDANT}')",
        ):
            connection.execute(text(statement), {"row": row})


def last_number(connection: Connection, study_id: int) -> int | None:
    """Return the number of a study's last trial, as this transaction sees it."""
    statement = text("SELECT MAX(number) FROM trials WHERE study_id = :study")
    found: int | None = connection.execute(statement, {"study": study_id}).scalar_one()
    return found


@contextmanager
def database_errors(url: str) -> Iterator[None]:
    """Turn the errors of the database's libraries into LedgerLost."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise LedgerLost(
            f"Every trial is drawn and ended in the ledger; {shown(url)} cannot be used "
            f"({cause_of(error, url)}). Trials that have ended are in the store: when the ledger answers "
            "again, the same command goes on, and nothing is done twice."
        ) from None  # the chain would show the URL with its password


def engine_options(url: str, *, pooled: bool = True) -> dict[str, Any]:
    """Return SQLAlchemy's options for a database; `pooled`: connections are kept for the next use."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    # a server may have dropped a connection that was idle for a trial's time
    options: dict[str, Any] = {"pool_pre_ping": True} if pooled else {}
    if url.startswith(POSTGRES) and "connect_timeout" not in url:
        options["connect_args"] = {"connect_timeout": CONNECT_S}
    return options


def driver_url(url: str) -> str:
    """Return the URL with the driver of our dependencies, where it names none."""
    return (
        url.replace(f"{POSTGRES}://", f"{POSTGRES}+psycopg://", 1)
        if url.startswith(f"{POSTGRES}://")
        else url
    )


def shown(url: str) -> str:
    """Return the URL without user, password and options; nothing of it if it is not plain where those end."""
    match = _PLAIN_URL.fullmatch(url)
    return f"{match['scheme']}://{match['place']}" if match else "the URL given"


def cause_of(error: Exception, url: str) -> str:
    """Return the kind and first line of an error; without the text if that might reveal a secret."""
    cause = error.__cause__ or error
    # the database driver's error: SQLAlchemy may add lines before it
    cause = getattr(cause, "orig", None) or cause
    name = type(cause).__name__
    match = _PLAIN_URL.fullmatch(url)
    if match is None:
        return name
    secrets = [match["password"] or "", *(value for _, value in parse_qsl(match["options"] or ""))]
    line = (str(cause).splitlines() or [""])[0]
    revealed = any(secret and (secret in line or unquote(secret) in line) for secret in secrets)
    return name if revealed else f"{name}: {line}"
