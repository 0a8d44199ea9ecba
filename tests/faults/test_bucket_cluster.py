"""A bucket and two Ray nodes that share nothing else: one joins, the first dies, the other goes on with its trial."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.study.store import Store
from pipeline.study.store.objects import place_text
from tests.chaos.machines import WORKERS, Nodes
from tests.kit.bucket import contents, records
from tests.kit.postgres import PASSWORD, Server, binaries, check_ledger, wait_for
from tests.kit.toy import SHORT_CUT, command, write_task

TRIALS = 3
SPACE = (
    SHORT_CUT
    + """
[tune_epochs]
value = 30
[recover_epochs]
value = 1
[rounds]
value = 1
[batch_size]
value = 8
"""
)


@pytest.fixture
def nodes(machine: Callable[[str], None], tmp_path: Path) -> Iterator[Nodes]:
    """One worker node, another may join. They know the bucket; each has a cache of its own."""
    made = Nodes(tmp_path, WORKERS[:1])
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.long
@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server here (apt-get install postgresql)")
@pytest.mark.timeout(400)
def test_a_node_joins_the_first_dies_and_the_other_goes_on_from_the_bucket(
    nodes: Nodes, place: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create("nodes")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    task = write_task(tmp_path / "task", rows=320)
    space = task.parent / "long.toml"
    space.write_text(SPACE)
    asked = [
        "search", "--task", task, "--space", space, "--name", "toy", "--store", place_text(place),
        "--address", nodes.address, "--trials", TRIALS, "--latency-grid", "none", "--scheduler", "none",
        "--checkpoint-seconds", "1", "--ledger", server.url("nodes"), "--tracking",
        f"sqlite:///{tmp_path}/mlflow.db", "--json",
    ]  # fmt: skip
    watching, heard, answer = Store(place), tmp_path / "heard", tmp_path / "answer"
    with heard.open("w") as errors, answer.open("w") as output:
        env = nodes.env | {"PGPASSWORD": PASSWORD}
        running = subprocess.Popen(command(*asked), env=env, stdout=output, stderr=errors)
    try:
        wait_for(lambda: checkpointed(watching), 200, heard.read_text)
        nodes.start(WORKERS[1])
        wait_for(lambda: len(checkpointed(watching)) == 2, 100, heard.read_text)
        nodes.kill(WORKERS[0])
        assert running.wait(200) == 0, heard.read_text()
    finally:
        running.kill()
    found = json.loads(answer.read_text())
    assert (found["trials"], found["left_out"]) == (TRIALS, {"failed": 0, "stopped": 0})
    check_ledger(server, "nodes", TRIALS)
    ended = [watching.study("toy").read_record(number) for number in range(TRIALS)]
    moved = [record for record in ended if "resumed_at_epoch" in record.provenance]
    assert moved, "the dead node's trial began anew"
    said = heard.read_text()
    assert "has lost its node; it goes on from its last checkpoint" in " ".join(said.split())
    assert "Traceback" not in said
    assert all(record.attempts == 2 for record in moved)
    copies = [nodes.cache(worker) / "prunefront" / "stores" for worker in WORKERS]
    assert all(copy.is_dir() for copy in copies), "each node has a working copy of its own"
    assert not [name for name in contents(watching) if "checkpoint" in name]


def checkpointed(store: Store) -> set[str]:
    """Trials that have no record yet, and a whole checkpoint in the bucket."""
    ended = records(store)
    whole = (
        name.split("/") for name in contents(store) if name.endswith("record.json") and "checkpoint" in name
    )
    return {parts[3] for parts in whole if parts[3] not in ended}
