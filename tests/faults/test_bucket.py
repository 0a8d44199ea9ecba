"""A bucket that goes away in mid-search: it is waited for; then the search ends, and goes on when it is back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.study.store import Store, object_client, objects
from pipeline.study.store.objects import ObjectStoreLost, open_bucket, place_text
from tests.kit.bucket import KEYS, records
from tests.kit.gate import Gate, gate, patched
from tests.kit.postgres import PASSWORD, Server, binaries, check_ledger, wait_for
from tests.kit.toy import environment, on_one_core, write_task

TRIALS = 5


@pytest.fixture
def way(endpoint: str, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Gate:
    """To the bucket; a search that starts now takes it."""
    with gate(urlsplit(endpoint).port) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.port}")
        monkeypatch.setattr(objects, "_OPEN", {})  # connections of other tests go elsewhere
        yield made


def test_a_bucket_is_waited_for_as_long_as_patience_lasts(
    way: Gate, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_client, "ATTEMPTS", 1)
    monkeypatch.setattr(objects, "RETRY_PAUSES_S", (0.1, 0.1))
    bucket = open_bucket(place)
    bucket.copy.mkdir(parents=True, exist_ok=True)
    file = bucket.copy / "spent.json"
    file.write_text("{}")
    way.shut()
    said: list[str] = []
    opens = True

    def say(line: str) -> None:
        said.append(line)
        if opens:
            way.open()

    with bucket.retrying(say):
        with pytest.raises(ObjectStoreLost):
            bucket.send(file, wait=False)
        assert said == []
        bucket.send(file)
        (line,) = said
        assert "could not be written to" in line
        assert "Trying again in 0.1 s" in line
        way.shut()
        said.clear()
        opens = False
        with pytest.raises(ObjectStoreLost, match="the same command goes on"):
            bucket.send(file)
        assert len(said) == 2
        with pytest.raises(ObjectStoreLost):  # whoever cleans up does not wait anew
            bucket.send(file)
        assert len(said) == 2
    way.open()
    assert bucket.names(bucket.copy) == ["spent.json"]


@pytest.mark.long
@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server here (apt-get install postgresql)")
@pytest.mark.timeout(400)
def test_a_search_waits_for_its_bucket_then_ends_and_goes_on(
    way: Gate, place: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create("bucket_away")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    task = write_task(tmp_path / "task", rows=120)
    asked = [
        "search", "--task", str(task), "--space", str(task.parent / "quick.toml"), "--name", "toy",
        "--store", place_text(place), "--trials", str(TRIALS), "--concurrent", "1", "--latency-grid", "none",
        "--scheduler", "none", "--checkpoint-seconds", "0.2", "--ledger", server.url("bucket_away"),
        "--tracking", f"sqlite:///{tmp_path}/mlflow.db",
    ]  # fmt: skip
    watching = Store(place)

    heard = tmp_path / "heard"
    with heard.open("w") as file:
        first = subprocess.Popen(
            hasty(asked), env=environment(), stdout=file, stderr=file, preexec_fn=on_one_core
        )
    wait_for(lambda: len(own_records(watching)) >= 1, 150, heard.read_text)
    way.shut()
    wait_for(lambda: "Trying again in 2 s" in " ".join(heard.read_text().split()), 60, heard.read_text)
    way.open()
    # in the bucket, not on their way there
    wait_for(lambda: len(records(watching)) >= 3, 150, heard.read_text)
    way.shut()
    said = (first.wait(120), " ".join(heard.read_text().split()))
    assert said[0] == 1, said[1]
    assert f"{place_text(place)} could not be" in said[1]
    assert "the same command goes on from there" in said[1]
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in said[1]

    way.open()
    before = records(watching)
    assert 3 <= len(before) < TRIALS
    again = subprocess.run(
        hasty(asked), env=environment(), capture_output=True, text=True, timeout=200, preexec_fn=on_one_core
    )
    assert again.returncode == 0, again.stderr
    after = records(watching)
    assert {number: after[number] for number in before} == before, "a finished trial was done again"
    assert sorted(after) == [f"{number:05d}" for number in range(TRIALS)]
    check_ledger(server, "bucket_away", TRIALS)


def hasty(asked: list[str]) -> list[str]:
    """The command, with less patience, whose driver writes into the bucket all the time."""
    return patched(
        asked,
        "from pipeline.study.store import object_client, objects",
        "from pipeline.driver.search import budget",
        "object_client.ATTEMPTS, objects.RETRY_PAUSES_S, budget.NOTE_EVERY_S = 1, (1, 2, 4, 8), 1.0",
    )


def own_records(store: Store) -> list[Path]:
    """In the working copy: the driver has brought them, so they are in the bucket."""
    return list(store.root.glob("studies/toy/trials/*/record.json"))
