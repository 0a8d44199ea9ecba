"""A whole search whose disk fills up in the middle: it ends with one message, and goes on when there is space."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.driver.tracking.opening import connect
from tests.kit.disk import disk, fill
from tests.kit.toy import command, environment, on_one_core, prunefront, write_task

TRIALS = 12  # of a third of a second: the disk is full long before the last


@pytest.mark.long
def test_a_full_disk_ends_a_search_and_the_same_command_goes_on(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task", rows=120)
    train = task.parent / "train.tsv"  # rows that differ in a number which max_length cuts off teach nothing
    train.write_text(re.sub(r"(?m)^.* (\d+)\t(?=[01]$)", "story " * 20 + r"\1\t", train.read_text()))
    with disk(tmp_path / "disk", megabytes=64) as folder:
        store = folder / "store"
        asked = [
            "search", "--task", str(task), "--space", str(task.parent / "quick.toml"), "--name", "toy", "--json",
            "--trials", str(TRIALS), "--concurrent", "1", "--latency-grid", "none", "--scheduler", "none",
            "--store", str(store),
        ]  # fmt: skip
        running = subprocess.Popen(
            command(*asked),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            preexec_fn=on_one_core,
        )
        record = store / "studies" / "toy" / "trials"
        while not list(record.rglob("record.json")):
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        ballast = fill(folder, leave=0)
        out, message = running.communicate(timeout=240)
        assert running.returncode == 1, message
        assert "disk is full. Free some space" in " ".join(message.split())
        assert "Trying again in" not in message  # waiting gives it no space
        assert "the same command goes on" in " ".join(message.split())
        assert "Traceback" not in message
        assert out == ""
        whole = {path: path.read_bytes() for path in record.rglob("record.json")}
        assert 1 <= len(whole) < TRIALS
        ballast.unlink()
        again = prunefront(*asked)
        assert again.returncode == 0, again.stderr
        found = json.loads(again.stdout)
        assert found["trials"] == TRIALS
        # that they teach nothing is said, and no share of nothing is given
        assert "no better than a constant prediction" in message
        assert (found["dense_metric"], found["hypervolume_normalised"]) == (0.5, None)
        assert {path: path.read_bytes() for path in whole} == whole
        client = connect(None, store_root=store)._client
        runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
        numbers = [run.data.tags["prunefront.trial"] for run in runs if "prunefront.trial" in run.data.tags]
        assert sorted(map(int, numbers)) == list(range(TRIALS))
