"""SkyPilot: a managed job, which is started again on other machines when a cloud takes its own away.

All nodes are equal and run trials; the first one runs the driver, too. A job that is recovered runs the same command,
which goes on with its study: ledger, MLflow and store are elsewhere. Fields are those of SkyPilot 0.14's task YAML.
"""

from __future__ import annotations

import shlex
from typing import Any

from pipeline.driver.cluster.launch import NODE_ENVIRONMENT, Launch
from pipeline.driver.cluster.yaml_text import dump
from pipeline.study.records import BadInput

PORT = 6379  # SkyPilot's own Ray has 6380
RESTARTS = 3  # of a search that fails; lost machines do not count
JOIN_S = 300  # until the head answers, at most

Tree = dict[str, Any]


def text(launch: Launch) -> str:
    """Return the task, with the command that launches it above it.

    Raises:
        BadInput: nodes have GPUs, and it is not said which.
    """
    if launch.nodes.gpus and launch.accelerator is None:
        raise BadInput(
            "SkyPilot finds machines by the name of their GPU, and none is given. Give --accelerator, such as L4."
        )
    secrets = (launch.ray_token, *launch.driver_secrets)
    given = " ".join(f"--secret {secret.variable}" for secret in secrets if secret.needed)
    more = ", ".join(f"--secret {secret.variable}" for secret in secrets if not secret.needed)
    lines = (
        f"With {', '.join(s.variable for s in secrets if s.needed)} in the environment (the token is any long word):",
        f"    sky jobs launch -n {launch.name} {given} {launch.name}.yaml",
        *((f"and, where it is needed, {more}.",) if more else ()),
    )
    return "".join(f"# {line}\n" for line in lines) + dump(tree(launch))


def tree(launch: Launch) -> Tree:
    """Return the task as a tree."""
    nodes = launch.nodes
    resources: Tree = {
        "image_id": f"docker:{launch.image}",
        "cpus": f"{nodes.cpus}+",
        "memory": f"{nodes.memory_gb}+",
        "use_spot": nodes.spot,
        "job_recovery": {"max_restarts_on_errors": RESTARTS},
    }
    if nodes.gpus:
        resources["accelerators"] = f"{launch.accelerator}:{nodes.gpus}"
    environment = NODE_ENVIRONMENT | {"RAY_AUTH_MODE": "token"}
    if launch.in_objects and launch.endpoint:
        environment["AWS_ENDPOINT_URL"] = launch.endpoint
    needed = [secret for secret in (launch.ray_token, *launch.driver_secrets) if secret.needed]
    return {
        "name": launch.name,
        "num_nodes": nodes.count,
        "resources": resources,
        "envs": environment,
        "secrets": {secret.variable: None for secret in needed},  # None: SkyPilot does not launch without it
        "run": "\n".join((*_script(launch), "")),
    }


def _script(launch: Launch) -> tuple[str, ...]:
    """Return what every node runs. `ray stop` would stop SkyPilot's own Ray, too: the head's process is ended."""
    nodes = launch.nodes
    gpus = f" --num-gpus={nodes.gpus}" if nodes.gpus else ""
    start = f"--num-cpus={nodes.cpus}{gpus} --block"
    command = shlex.join(launch.command).replace("--address auto", '--address "$address"')
    return (
        "set -euo pipefail",
        'export PATH="/opt/venv/bin:$PATH"',
        'ip=$(echo "$SKYPILOT_NODE_IPS" | sed -n 1p)',
        f'address="$ip:{PORT}"',
        'if [ "$SKYPILOT_NODE_RANK" != 0 ]; then',
        f"    for try in $(seq {JOIN_S // 5}); do",
        '        ray status --address "$address" > /dev/null 2>&1 && break',
        "        sleep 5",
        "    done",
        f'    ray start --address="$address" {start} || true  # it ends when the head does',
        "    exit 0",
        "fi",
        f'ray start --head --node-ip-address="$ip" --port={PORT} --include-dashboard=false {start} &',
        "head=$!",
        "trap 'kill \"$head\"' EXIT",
        f"for try in $(seq {JOIN_S // 5}); do",
        '    ray status --address "$address" > /dev/null 2>&1 && break',
        "    sleep 5",
        "done",
        command,
    )
