"""Schedules of a study of two trials: a fault at every point of a driver, then another one; then the books are read.

A small sample in the quick tests, a larger one in the long ones; `make faults` draws at random. A schedule that failed
once is in `corpus.txt`, and always tried.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.study.ledger import lease
from tests.kit.points import FAULTS
from tests.kit.postgres import PASSWORD, Server, binaries
from tests.kit.schedules import Outcome, Schedule, Study

CORPUS = Path(__file__).with_name("corpus.txt")
SAMPLE = 60  # every so many-th schedule
EXPORTER_SAMPLE = 10
MLFLOW_SAMPLE = POSTGRESQL_SAMPLE = 10

pytestmark = [
    pytest.mark.usefixtures("hurry"),
    pytest.mark.filterwarnings(
        "ignore:This process .* is multi-threaded:DeprecationWarning",
        "ignore:The ``noload`` loader strategy",  # MLflow's, of SQLAlchemy 2.1
    ),
]


def told(outcomes: list[Outcome]) -> list[str]:
    return [f"{each.schedule} ({each.point}): {'; '.join(each.wrong)}" for each in outcomes if each.wrong]


def corpus(kind: str) -> list[Schedule]:
    """The schedules that failed once: a line each, `kind fault at then`."""
    rows = [line.split("\t") for line in CORPUS.read_text().splitlines() if line and not line.startswith("#")]
    return [Schedule(fault, int(at), int(then)) for name, fault, at, then in rows if name == kind]


@pytest.mark.parametrize("stops", [False, True], ids=["complete", "stopped"])
def test_a_sample_of_schedules_loses_and_doubles_nothing(tmp_path: Path, stops: bool) -> None:
    study = Study(tmp_path, stops=stops)
    every = study.schedules()
    assert {each.fault for each in every} == set(FAULTS)
    chosen = [*corpus("stopped" if stops else "complete"), *every[stops * 5 :: SAMPLE * (1 + stops)]]
    assert told([study.try_out(schedule) for schedule in chosen]) == []


def test_exporters_that_are_killed_or_run_at_once_lose_nothing(tmp_path: Path) -> None:
    study = Study(tmp_path, actor="exporter")
    chosen = [*corpus("exporter"), *study.schedules()[::EXPORTER_SAMPLE]]
    assert told([study.try_out(schedule) for schedule in chosen]) == []


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stops", [False, True], ids=["complete", "stopped"])
def test_more_schedules_lose_and_double_nothing(tmp_path: Path, stops: bool) -> None:
    study = Study(tmp_path, stops=stops)
    chosen = study.schedules()[:: 6 * (1 + stops)]  # all of them: make faults, for half an hour
    assert told([study.try_out(schedule) for schedule in chosen]) == []


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("actor", ["driver", "sync"])
def test_a_sample_of_schedules_with_mlflow_publishes_each_trial_once(tmp_path: Path, actor: str) -> None:
    study = Study(tmp_path, actor=actor, mlflow=True)
    every = [each for each in study.schedules() if each.fault != "undone"]
    chosen = every[:: max(1, len(every) // MLFLOW_SAMPLE)]
    assert told([study.try_out(schedule) for schedule in chosen]) == []


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server here (apt-get install postgresql)")
def test_a_sample_of_schedules_on_postgresql_loses_and_doubles_nothing(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commits: files are the same with any ledger. Paused before one it holds locks, which the server ends."""
    monkeypatch.setattr(lease, "IDLE_S", 1.0)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    study = Study(tmp_path, server=server)
    commits = [at for at, name in enumerate(study.points, start=1) if name.startswith("commit")]
    every = [each for each in study.schedules() if each.at in commits]
    every += [Schedule("pause", at) for at in commits if study.points[at - 1] == "commit before"]
    chosen = every[:: max(1, len(every) // POSTGRESQL_SAMPLE)]
    assert told([study.try_out(schedule) for schedule in chosen]) == []


def test_the_books_show_what_is_wrong(tmp_path: Path) -> None:
    """An audit that cannot fail is none: each of these is found."""
    study = Study(tmp_path)
    root = study.undisturbed()
    record = root / "store/studies/s/trials/00000/record.json"
    for spoil, says in (
        (
            lambda: record.write_text(record.read_text().replace('"metric": 0.9', '"metric": 0.8')),
            "the ledger has",
        ),
        (
            lambda: (root / "store/studies/s/trials/00000/weights/recovered.safetensors").write_text("1"),
            "another process",
        ),
        (lambda: (root / "store/studies/s/.x.0a1b2c3d.part").touch(), "left over"),
        (lambda: record.unlink(), "cannot"),
    ):
        spoil()
        assert any(says in wrong for wrong in study.audit(root)), says
