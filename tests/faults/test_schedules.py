"""Schedules of a study of two trials: a fault at a point of a process, then another one; then the books are read.

A sample of them here; `make schedules` tries all, `make faults` draws those of two faults at random. Schedules that
failed once, or that show a protection gone, are in `corpus.txt`, and always tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.study.ledger import lease_table
from tests.faults.every import in_memory
from tests.faults.kinds import make, own_schedules
from tests.faults.sample import corpus, said, spread
from tests.kit.points import FAULTS
from tests.kit.postgres import PASSWORD, Server, binaries
from tests.kit.schedules import Study
from tests.kit.toy import environment

# 27 schedules, of a complete study's one of each fault, and 8 of corpus.txt
SAMPLES = {"complete": 12, "stopped": 3, "earlier": 3, "exporter": 4, "journal": 5}
MLFLOW_SAMPLE, POSTGRESQL_SAMPLE = 10, 40

pytestmark = [
    pytest.mark.usefixtures("hurry"),
    pytest.mark.filterwarnings(
        "ignore:This process .* is multi-threaded:DeprecationWarning",
        "ignore:The ``noload`` loader strategy",  # MLflow's, of SQLAlchemy 2.1
    ),
]


def test_a_sample_of_schedules_loses_and_doubles_nothing() -> None:
    asked = [f"{kind}={count}" for kind, count in SAMPLES.items()]
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.sample", *asked],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = {row["kind"]: row for row in map(json.loads, run.stdout.splitlines())}
    assert {kind: row["wrong"] for kind, row in found.items()} == {kind: [] for kind in SAMPLES}
    assert all(found[kind]["tried"] == count + len(corpus(kind)) for kind, count in SAMPLES.items())
    assert {*found["complete"]["faults"]} == set(FAULTS)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["mlflow", "sync"])
def test_a_sample_of_schedules_with_mlflow_publishes_each_trial_once(kind: str) -> None:
    with in_memory() as folder:
        study = make(kind, folder)
        chosen = [*corpus(kind), *spread(own_schedules(kind, {kind: study}), MLFLOW_SAMPLE)]
        assert said([study.try_out(schedule) for schedule in chosen]) == []


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server here (apt-get install postgresql)")
def test_a_sample_of_schedules_on_postgresql_loses_and_doubles_nothing(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commits: files are the same with any ledger. Paused before one it holds locks, which the server ends."""
    monkeypatch.setattr(lease_table, "IDLE_S", 1.0)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    study = Study(tmp_path, server=server)
    commits = [at for at, name in enumerate(study.points, start=1) if name.startswith("commit")]
    every = [each for each in (*study.schedules(), *study.at_once()) if each.at in commits]
    chosen = spread(every, POSTGRESQL_SAMPLE)
    assert said([study.try_out(schedule) for schedule in chosen]) == []


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
            "weights of another process",
        ),
        (lambda: (root / "store/studies/s/.x.0a1b2c3d.part").touch(), "left over"),
        (lambda: record.unlink(), "cannot"),
    ):
        spoil()
        assert any(says in wrong for wrong in study.audit(root)), says
