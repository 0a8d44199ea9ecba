"""Compose and SkyPilot: each against the fields of what reads it, and its script run with stand-ins for Ray."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.cli.app import run
from tests.kit.compose import ComposeFile
from tests.kit.skypilot import SkyTask

LEDGER, TRACKING = "postgresql://me@db.example.org/prunefront", "https://mlflow.example.org"
SERVERS = ["--ledger", LEDGER, "--tracking", TRACKING]
BUCKET = [*SERVERS, "--store", "s3://bucket/runs"]
SEARCHED = ["--task", "glue/sst2", "--model", "bert-base-uncased", "--name", "My study"]


@pytest.fixture(autouse=True)
def _no_address_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def printed(capsys: pytest.CaptureFixture[str], kind: str, *options: str) -> str:
    code = run(["cluster", kind, *SEARCHED, *options])
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out


def stand_ins(folder: Path, **bodies: str) -> dict[str, str]:
    """The environment in which programs write down how they are called, into `log`, and do as their body says."""
    for name, body in bodies.items():
        path = folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {folder}/log\n{body}\n')
        path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_compose_brings_a_ledger_mlflow_and_a_head_that_searches(capsys: pytest.CaptureFixture[str]) -> None:
    found = ComposeFile.model_validate(yaml.safe_load(printed(capsys, "compose", "--node-cpus", "4")))
    assert list(found.services) == ["db", "mlflow", "search"]
    assert set(found.volumes) == {"db", "mlflow", "runs"}
    database, server, search = found.services.values()
    assert set(search.depends_on) == {"db", "mlflow"}
    assert server.ports == ["127.0.0.1:5000:5000"], "on this machine alone"
    assert not database.ports
    assert found.configs["mlflow_database"].content == "CREATE DATABASE mlflow;\n"
    words = shlex.split(search.command[-1].replace("$$", "$"))
    words = words[words.index("prunefront") :]
    pairs = dict(zip(words[2::2], words[3::2], strict=True))
    assert pairs["--ledger"] == "postgresql://prunefront@db/prunefront"
    assert pairs["--tracking"] == "http://mlflow:5000"
    assert pairs["--store"] == "/home/prunefront/mlflow_runs"
    assert pairs["--address"] == "auto"
    assert pairs["--concurrent"] == "4", "one machine of four cores"
    assert search.volumes == ["runs:/home/prunefront"], "whose owner the image's user is"


def test_compose_names_secrets_and_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = ComposeFile.model_validate(yaml.safe_load(printed(capsys, "compose")))
    for name, variable in (("db", "POSTGRES_PASSWORD"), ("mlflow", "PGPASSWORD"), ("search", "PGPASSWORD")):
        assert found.services[name].environment[variable] == "${PGPASSWORD:?is missing}"
    search = found.services["search"]
    assert search.environment["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in search.environment, "it is made in the container"


def test_compose_takes_servers_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    found = ComposeFile.model_validate(yaml.safe_load(printed(capsys, "compose", *BUCKET)))
    assert list(found.services) == ["search"]
    assert not found.volumes
    environment = found.services["search"].environment
    assert environment["AWS_ACCESS_KEY_ID"] is None, "from the environment, if it is there"
    text = printed(capsys, "compose", "--tracking", TRACKING, "--store", "/shared/runs", "--node-gpus", "2")
    found = ComposeFile.model_validate(yaml.safe_load(text))
    assert list(found.services) == ["db", "search"]
    assert not found.configs
    assert found.services["search"].volumes == ["/shared/runs:/shared/runs"]
    deploy = found.services["search"].deploy
    assert deploy is not None
    assert deploy.resources.reservations is not None
    assert deploy.resources.reservations.devices[0].count == 2


def test_composes_head_starts_ray_and_becomes_the_search(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = ComposeFile.model_validate(yaml.safe_load(printed(capsys, "compose")))
    script = found.services["search"].command[-1]
    assert not re.search(r"(?<!\$)\$(?!\$)", script), "compose would fill it in"
    env = stand_ins(tmp_path, ray='[ -n "$RAY_AUTH_TOKEN" ]', python="echo a-token", prunefront="exit 130")
    ended = subprocess.run(["bash", "-c", script.replace("$$", "$")], env=env, check=False, timeout=30)
    assert ended.returncode == 130
    log = (tmp_path / "log").read_text()
    assert "ray start --head --include-dashboard=false --num-cpus=8\nprunefront search" in log


def test_skypilots_task_is_a_job_that_recovers(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "skypilot", *BUCKET, "--spot", "--node-gpus", "1", "--accelerator", "L4")
    task = SkyTask.model_validate(yaml.safe_load(text))
    assert task.num_nodes == 2
    assert task.resources.use_spot
    assert task.resources.accelerators == "L4:1"
    assert set(task.secrets) == {"RAY_AUTH_TOKEN", "PGPASSWORD"}
    assert "--secret RAY_AUTH_TOKEN --secret PGPASSWORD my-study.yaml" in text
    assert "--secret AWS_SECRET_ACCESS_KEY" in text
    assert "run: |" in text, "a script is readable"


def test_skypilot_wants_the_gpus_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "skypilot", *SEARCHED, *BUCKET, "--node-gpus", "1"]) == 2
    assert "--accelerator" in capsys.readouterr().err
    assert run(["cluster", "skypilot", *SEARCHED, *BUCKET, "--accelerator", "L4\nrun: x"]) == 2


@pytest.mark.parametrize(("code", "ended"), [(0, 0), (1, 1)])
def test_skypilots_nodes_meet_and_end_with_the_driver(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, code: int, ended: int
) -> None:
    script = SkyTask.model_validate(yaml.safe_load(printed(capsys, "skypilot", *BUCKET))).run
    env = stand_ins(
        tmp_path,
        ray='case "$*" in *--head*) exec sleep 60;; *--address=*) exit 1;; esac',
        prunefront=f"exit {code}",
    )
    env |= {"SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.8"}
    script = script.replace("/opt/venv/bin", str(tmp_path))
    worker = subprocess.run(
        ["bash", "-c", script], env=env | {"SKYPILOT_NODE_RANK": "1"}, check=False, timeout=30
    )
    assert worker.returncode == 0, "a head that is gone is no failure of a worker"
    assert "ray start --address=10.0.0.7:6379 --num-cpus=8 --block" in (tmp_path / "log").read_text()
    head = subprocess.run(
        ["bash", "-c", script], env=env | {"SKYPILOT_NODE_RANK": "0"}, check=False, timeout=30
    )
    assert head.returncode == ended
    log = (tmp_path / "log").read_text()
    assert "ray start --head --node-ip-address=10.0.0.7 --port=6379" in log
    assert re.search(r"prunefront search .*--address 10.0.0.7:6379", log)
    assert "ray stop" not in log, "SkyPilot has a Ray of its own on the machine"
