"""What `prunefront cluster` prints, each against the schema of what reads it; and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config
from ray.dashboard.modules.job.cli import submit

from pipeline.cli.app import run as run_here
from pipeline.driver.cluster import KINDS, arguments
from pipeline.driver.search.request import Search
from pipeline.driver.search.watcher import Watcher
from pipeline.fronts.front import Front
from pipeline.study.records import TaskReference
from pipeline.study.store import Store
from tests.kit.rayjob import RayJob
from tests.kit.synthetic import spec

LEDGER, TRACKING = "postgresql://me@db.example.org/prunefront", "https://mlflow.example.org"
SERVERS = ["--ledger", LEDGER, "--tracking", TRACKING]
SHARED = [*SERVERS, "--store", "/shared/runs", "--shared-store"]
CLAIM = [*SERVERS, "--store", "/shared/runs", "--claim", "runs"]
SEARCHED = ["--task", "glue/sst2", "--model", "bert-base-uncased", "--trials", "200", "--name", "My study"]
Here = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _no_address_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run_here([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def printed(here: Here) -> Callable[..., str]:
    def call(kind: str, *options: str | Path) -> str:
        code, text, message = here("cluster", kind, *SEARCHED, *options)
        assert code == 0, message
        return text

    return call


# The command line that a search is.


def sample(hint: Any) -> Any:
    """A value of a field's type that is not the usual one."""
    kinds = (
        [each for each in get_args(hint) if each is not NoneType] if get_origin(hint) is UnionType else [hint]
    )
    values = {str: "a 'value'", int: 7, float: 0.25, bool: True, Path: Path("/a folder/x.toml")}
    return ("one", "two words") if get_origin(kinds[0]) is tuple else values[kinds[0]]


@pytest.mark.parametrize("field", [field.name for field in fields(Search)])
def test_a_search_becomes_a_command_line_that_asks_for_it(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Search(**{field: sample(get_type_hints(Search)[field])})
    line = shlex.split(shlex.join(arguments(request)))
    assert line[0] == "search"
    received: list[Search] = []

    def run_seeds(request: Search, watcher: Watcher, *, seeds: int) -> tuple[Front, ...]:
        received.append(request)
        return ()

    monkeypatch.setattr("pipeline.driver.search.early.check_early", lambda _: None)
    monkeypatch.setattr("pipeline.driver.search.seeds.run_seeds", run_seeds)
    assert run_here([*line, "--quiet"]) == 0
    assert received == [request]
    assert received != [Search()]


def test_a_usual_search_is_a_bare_command() -> None:
    assert arguments(Search()) == ["search"]


# Each kind against what reads it.


def test_a_job_is_what_ray_job_submit_reads(printed: Callable[..., str]) -> None:
    lines = [line for line in printed("job", *SHARED).splitlines() if not line.startswith("#")]
    words = shlex.split(" ".join(lines).replace("\\ ", ""))  # a line that goes on
    assert words[:4] == ["RAY_AUTH_MODE=token", "ray", "job", "submit"]
    context: Any = submit.make_context("submit", words[4:])
    assert context.params["address"] == "http://127.0.0.1:8265"
    assert context.params["submission_id"] == "my-study"
    assert list(context.params["entrypoint"])[:4] == ["prunefront", "search", "--task", "glue/sst2"]
    entry = list(context.params["entrypoint"])
    assert entry[entry.index("--address") + 1] == "auto"
    assert entry[entry.index("--concurrent") + 1] == "16", "two nodes of eight cores"


def test_kuberay_is_a_rayjob(printed: Callable[..., str]) -> None:
    text = printed(
        "kuberay", *CLAIM, "--node-gpus", "2", "--gpus-per-trial", "0.25", "--nodes", "3", "--spot"
    )
    job = RayJob.model_validate(yaml.safe_load(text))
    cluster = job.spec.rayClusterSpec
    assert cluster.authOptions.mode == "token"
    assert cluster.rayVersion == ray.__version__
    head, (workers,) = cluster.headGroupSpec, cluster.workerGroupSpecs
    assert head.rayStartParams["num-cpus"] == "0", "no trials beside the driver"
    assert workers.replicas == 3
    (trials,) = workers.template.spec.containers
    assert trials.resources.limits["nvidia.com/gpu"] == "2"
    assert workers.template.spec.tolerations
    assert not head.template.spec.tolerations, "the driver's node is none that may vanish"
    (driver,) = head.template.spec.containers
    secret = {each.name: each.valueFrom.secretKeyRef.key for each in driver.env if each.valueFrom}
    assert secret.keys() == {"PGPASSWORD", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert not [each for each in trials.env if each.valueFrom], "trials need neither ledger nor MLflow"
    assert {mount.mountPath for mount in trials.volumeMounts} == {"/dev/shm", "/shared/runs"}
    words = shlex.split(job.spec.entrypoint)
    assert words[words.index("--concurrent") + 1] == "24", "three nodes of two GPUs, four trials on each"


def test_an_object_stores_keys_reach_the_trials_by_reference(
    printed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example.org")
    job = RayJob.model_validate(yaml.safe_load(printed("kuberay", *SERVERS, "--store", "s3://bucket/runs")))
    (workers,) = job.spec.rayClusterSpec.workerGroupSpecs
    (trials,) = workers.template.spec.containers
    assert {e.name for e in trials.env if e.valueFrom} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert {e.name: e.value for e in trials.env if e.value}["AWS_ENDPOINT_URL"] == "https://minio.example.org"
    assert "s3://bucket/runs" in shlex.split(job.spec.entrypoint)
    assert not [volume for volume in workers.template.spec.volumes if volume.persistentVolumeClaim]
    assert "export AWS_ENDPOINT_URL=https://minio.example.org" in printed(
        "slurm", *SERVERS, "--store", "s3://b/r"
    )


def test_a_store_with_a_space_is_one_word_of_dockers_command(printed: Callable[..., str]) -> None:
    """Ray joins `run_options` with spaces, and a shell reads the line."""
    shared = [*SERVERS, "--store", "/shared/my runs", "--shared-store"]
    options = yaml.safe_load(printed("autoscaler", *shared))["docker"]["run_options"]
    words = shlex.split(" ".join(options))
    assert words[words.index("--volume") + 1] == "/shared/my runs:/shared/my runs"


def test_the_autoscalers_file_fits_rays_schema(printed: Callable[..., str]) -> None:
    tree = yaml.safe_load(
        printed("autoscaler", *SHARED, "--spot", "--node-gpus", "1", "--instance", "g5.2xlarge")
    )
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(tree, schema)
    jsonschema.validate(prepare_config(tree), schema)  # as Ray completes it
    trials = tree["available_node_types"]["trials"]
    assert trials["node_config"] == {
        "InstanceType": "g5.2xlarge",
        "InstanceMarketOptions": {"MarketType": "spot"},
    }
    assert trials["resources"] == {"CPU": 8, "GPU": 1}
    for command in (tree["head_start_ray_commands"][-1], tree["worker_start_ray_commands"][-1]):
        assert "RAY_AUTH_MODE=token" in command
        subprocess.run(["bash", "-n", "-c", command], check=True)
    assert any("auth_token" in target for target in tree["file_mounts"])


SBATCH = {
    "job-name",
    "nodes",
    "ntasks-per-node",
    "cpus-per-task",
    "gpus-per-node",
    "mem",
    "output",
    "open-mode",
}
SBATCH |= {"requeue", "signal", "partition", "time"}  # of `man sbatch`, those that we may write
STUBS = {
    "srun": 'while [[ "$1" == --* ]]; do shift; done; exec "$@"',
    "scontrol": "echo node1; echo node2",
    "hostname": "echo 10.0.0.7 10.0.0.8",
    "ray": ":",
    "python": "echo a-token",
    # the workers start beside the driver, which must not have ended before that was written down
    "prunefront": 'for _ in {1..200}; do grep -q "ray start --address" "$0.log" && break; sleep 0.1; done',
}


def _hears_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_slurm_script_starts_head_workers_and_driver(printed: Callable[..., str], tmp_path: Path) -> None:
    text = printed("slurm", *SHARED, "--partition", "gpu", "--time", "1-12:00:00", "--node-gpus", "4")
    given = re.findall(r"^#SBATCH --([\w-]+)", text, re.M)
    assert set(given) <= SBATCH
    assert {"nodes", "requeue", "gpus-per-node", "partition", "time"} <= set(given)
    script = tmp_path / "job.sh"
    script.write_text(text)
    subprocess.run(["bash", "-n", script], check=True)

    log, bin_ = tmp_path / "log", tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "activate").write_text("")
    (bin_ / "prunefront.log").symlink_to(log)
    for name, body in STUBS.items():
        (bin_ / name).write_text(
            f'#!/bin/bash\necho "{name} $*" "[$RAY_AUTH_MODE $RAY_AUTH_TOKEN]" >> {log}\n{body}\n'
        )
        (bin_ / name).chmod(0o755)
    env = {"PATH": f"{bin_}:{os.environ['PATH']}", "PRUNEFRONT_VENV": str(tmp_path), "SLURM_JOB_ID": "123"}
    env |= {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    without = subprocess.run(["bash", script], env=env, capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "PGPASSWORD" in without.stderr
    log.unlink(missing_ok=True)
    subprocess.run(["bash", script], env=env | {"PGPASSWORD": "hidden"}, check=True, timeout=30)
    called = log.read_text()
    assert re.search(r"ray start --head --node-ip-address=10.0.0.7 --port=20123 .*\[token a-token\]", called)
    assert "ray start --address=10.0.0.7:20123 --num-cpus=8 --num-gpus=4 --block [token a-token]" in called
    assert re.search(r"prunefront search .*--address 10.0.0.7:20123 .*\[token a-token\]", called)
    assert "srun --nodes=1 --ntasks=1 --exclude=node1 --overlap" in called
    assert "hidden" not in called

    # before its time is over Slurm signals the script, and the driver ends as by Ctrl-C
    waits = f"#!{sys.executable}\nimport time\nprint('here', flush=True)\ntry:\n    time.sleep(60)\n"
    (bin_ / "prunefront").write_text(f"{waits}except KeyboardInterrupt:\n    raise SystemExit(130)\n")
    job = subprocess.Popen(
        ["bash", script],
        env=env | {"PGPASSWORD": "hidden"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_hears_ctrl_c,  # a suite in the background ignores it, and so would all that it starts
    )
    assert job.stdout is not None
    assert "here" in iter(job.stdout.readline, "").__next__()
    job.send_signal(signal.SIGINT)
    assert job.wait(30) == 130
    job.stdout.close()


def test_the_dockerfile_is_pinned_and_runs_as_nobodys_root(printed: Callable[..., str]) -> None:
    text = re.sub(r"\\\n\s*", "", printed("dockerfile"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    words = [line.split()[0] for line in lines]
    assert set(words) <= {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "CMD"}
    assert words[0] == "FROM"
    assert lines[0] == "FROM python:3.11-slim-bookworm"
    assert [line for line in lines if line.startswith("USER")] == ["USER prunefront"]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in ("RUN", "COPY"))
    installs = [line for line in lines if "pip install" in line]
    assert all("requirements.lock" in line or "--no-deps" in line for line in installs)
    root = Path(__file__).parents[3]
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert copied
    assert all((root / name).exists() for name in copied)
    lock = (root / "requirements.lock").read_text().splitlines()
    assert f"ray=={ray.__version__}" in lock
    assert "download.pytorch.org/whl/cpu" in text
    assert "download.pytorch.org" not in printed("dockerfile", "--node-gpus", "1")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_json_holds_the_same_text(here: Here, printed: Callable[..., str], kind: str) -> None:
    code, out, message = here("cluster", kind, *SEARCHED, *CLAIM, "--json")
    assert code == 0, message
    found = json.loads(out)
    assert found["kind"] == kind
    assert found["text"] == printed(kind, *CLAIM)


# What no cluster can run, and what nobody is to read.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tracking", TRACKING, "--store", "/shared", "--shared-store"], "postgresql://"),
        (["--ledger", "sqlite:////s/x.db", "--tracking", TRACKING, "--store", "/s", "--shared-store"], "PGPASSWORD"),
        (["--ledger", "journal://led", "--tracking", "later", "--store", "/s", "--shared-store"], "whole path"),
        (["--ledger", LEDGER, "--store", "/shared", "--shared-store"], "--tracking"),
        (["--ledger", LEDGER, "--tracking", "sqlite:///x.db", "--store", "/s", "--shared-store"], "--tracking"),
        (["--ledger", LEDGER, "--tracking", "/shared/mlruns", "--store", "/s", "--shared-store"], "--tracking"),
        ([*SERVERS, "--store", "/home/me/runs"], "--shared-store"),
        ([*SERVERS, "--store", "runs", "--shared-store"], "whole path"),
        ([*SHARED, "--gpus-per-trial", "1"], "--node-gpus"),
        ([*SHARED, "--nodes", "0"], "--nodes"),
        ([*SHARED, "--claim", "Not_a_name"], "--claim"),
        ([*SHARED, "--time", "tomorrow"], "--time"),
        ([*SHARED, "--partition", "gpu\nrm -r /\n#"], "--partition"),
        ([*SHARED, "--region", "x\n- y"], "--region"),
        ([*SHARED, "--instance", "$(x)"], "--instance"),
        ([*SHARED, "--method", "snap"], "snip"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_a_cluster_cannot_run_is_refused(here: Here, options: list[str], says: str) -> None:
    code, out, message = here("cluster", "slurm", *options)
    assert code == 2, message
    assert says in message
    assert out == ""


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    ("option", "value", "own"),
    [
        ("--partition", "gpu", "slurm"),
        ("--time", "1:00:00", "slurm"),
        ("--namespace", "team", "kuberay"),
        ("--accelerator", "L4", "skypilot"),
    ],
)
def test_an_option_of_another_kind_is_refused(
    here: Here, kind: str, option: str, value: str, own: str
) -> None:
    code, out, message = here("cluster", kind, *CLAIM, option, value)
    refused = f"{option} is of {own}, and {kind} has no place for it."
    assert (refused in message, out == "") == ((True, True) if kind != own else (False, code != 0)), message


def test_kuberay_wants_to_know_the_volume(here: Here) -> None:
    code, out, message = here("cluster", "kuberay", *SHARED)
    assert (code, out) == (2, "")
    assert "--claim" in message


def test_an_unknown_kind_is_refused(here: Here) -> None:
    code, _, message = here("cluster", "nomad", *SHARED)
    assert code == 2
    assert "kuberay" in message


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"dockerfile"}))
@pytest.mark.parametrize(
    "options",
    [
        ["--ledger", "postgresql://me:s3cr3t@db/pf", "--tracking", TRACKING],
        ["--ledger", "postgresql://db/pf?user=me&password=s3cr3t", "--tracking", TRACKING],
        ["--ledger", "postgresql://me:s3c@s3cr3t@db/pf", "--tracking", TRACKING],
        ["--ledger", LEDGER, "--tracking", "https://me:s3cr3t@mlflow.example.org"],
        ["--ledger", LEDGER, "--tracking", "https://s3cr3t@mlflow.example.org"],
        ["--ledger", LEDGER, "--tracking", "https://mlflow.example.org/#s3cr3t"],
        ["--ledger", LEDGER, "--tracking", TRACKING, "--dashboard", "http://u:s3cr3t@head:8265"],
    ],
)
def test_secrets_are_refused_and_never_printed(here: Here, kind: str, options: list[str]) -> None:
    code, out, message = here("cluster", kind, *options, "--store", "/shared", "--claim", "runs")
    assert code == 2
    assert "s3cr3t" not in out + message
    assert any(where in message for where in ("MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "auth_token"))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_image_adds_no_line_to_a_manifest(here: Here, kind: str) -> None:
    options = ["--ledger", LEDGER, "--tracking", TRACKING, "--store", "/shared", "--claim", "runs"]
    code, out, message = here("cluster", kind, *options, "--image", "x\nRUN touch /tmp/x")
    assert (code, out) == (2, "")
    assert "--image is" in message


# A study of the store.


def study_in(folder: Path, *, model: str = "org/small", fingerprint: str = "f@123") -> Store:
    store = Store(folder)
    store.write_spec(replace(spec("toy"), model=model, model_fingerprint=fingerprint, seed=5))
    store.study("toy").task.write(TaskReference("hf:rotten", text=("text",), label="label"))
    return store


def test_a_study_is_requested_with_its_own_options(here: Here, tmp_path: Path) -> None:
    study_in(tmp_path)
    options = [*SERVERS, "--store", tmp_path, "--shared-store", "--trials", "50"]
    code, out, message = here("cluster", "job", "toy", *options)
    assert code == 0, message
    line = out.rpartition(" -- ")[2]
    words = shlex.split(line)
    pairs = dict(zip(words[2::2], words[3::2], strict=True))
    assert pairs["--task"] == "hf:rotten"
    assert (pairs["--text"], pairs["--label"], pairs["--model"]) == ("text", "label", "org/small")
    assert (pairs["--seed"], pairs["--name"], pairs["--trials"]) == ("5", "toy", "50")
    assert pairs["--precision"] == "fp32"
    assert "--space" not in pairs, "its space is the packaged one"


@pytest.mark.parametrize(
    ("options", "says"), [(["--seed", "7"], "--seed"), (["--method", "chance"], "--method"), ([], "--model")]
)
def test_a_study_is_not_requested_with_other_options(
    here: Here, tmp_path: Path, options: list[str], says: str
) -> None:
    model, fingerprint = ("org/small", "f@123") if options else ("folder/model", "f")
    study_in(tmp_path, model=model, fingerprint=fingerprint)
    code, out, message = here(
        "cluster", "job", "toy", *SERVERS, "--store", tmp_path, "--shared-store", *options
    )
    assert (code, out) == (2, "")
    assert says in message


@pytest.mark.parametrize("kind", ["slurm", "kuberay", "job"])
def test_a_shared_folder_is_enough_and_needs_no_password(kind: str, printed: Callable[..., str]) -> None:
    where = ["--claim", "runs"] if kind == "kuberay" else ["--shared-store"]
    servers = ["--ledger", "journal:///shared/ledger", "--tracking", "later"]
    made = printed(kind, *SEARCHED, *servers, "--store", "/shared/runs", *where)
    assert "journal:///shared/ledger" in made
    assert "--tracking later" in " ".join(made.replace(",", " ").replace('"', "").split()).replace("- ", "")
    assert "PGPASSWORD" not in made
    assert "MLFLOW" not in made
