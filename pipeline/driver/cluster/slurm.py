"""A Slurm job: Ray's head and its workers, one on each node, and the driver; all of them end with the job."""

from __future__ import annotations

import shlex

from pipeline.driver.cluster.launch import NODE_ENVIRONMENT, Launch

JOIN_S = 300  # until the head answers, at most


def text(launch: Launch) -> str:
    """Return the script, for `sbatch`.

    When a node is taken away, the whole job goes back into the queue; it resumes from there.
    """
    return "\n".join((*_header(launch), "", *_body(launch), ""))


def options(launch: Launch) -> dict[str, str | None]:
    """Return the options of sbatch; None: an option without a value."""
    nodes = launch.nodes
    found: dict[str, str | None] = {
        "job-name": launch.name,
        "nodes": str(nodes.count),
        "ntasks-per-node": "1",
        "cpus-per-task": str(nodes.cpus),
        "mem": f"{nodes.memory_gb}G",
        "output": f"{launch.name}-%j.log",
        "open-mode": "append",  # a job that is put back into the queue goes on writing
        "requeue": None,
        "signal": "B:INT@120",  # two minutes before its time is over the driver ends as by Ctrl-C
    }
    if nodes.gpus:
        found["gpus-per-node"] = str(nodes.gpus)
    if launch.partition:
        found["partition"] = launch.partition
    if launch.time:
        found["time"] = launch.time
    return found


def _header(launch: Launch) -> tuple[str, ...]:
    lines = (
        f"#SBATCH --{name}" + ("" if value is None else f"={value}")
        for name, value in options(launch).items()
    )
    return ("#!/usr/bin/env bash", *lines)


def _body(launch: Launch) -> tuple[str, ...]:
    endpoint = (f"export AWS_ENDPOINT_URL={shlex.quote(launch.endpoint)}",) if launch.endpoint else ()
    needed = (
        f': "${{{s.variable}:?is to be exported before sbatch}}"' for s in launch.driver_secrets if s.needed
    )
    command = shlex.join(launch.command).replace("--address auto", '--address "$address"')
    variables = " ".join(f"{name}={value}" for name, value in NODE_ENVIRONMENT.items())
    gpus = f" --num-gpus={launch.nodes.gpus}" if launch.nodes.gpus else ""
    start = f"--num-cpus={launch.nodes.cpus}{gpus} --block"
    return (
        "set -euo pipefail",
        'source "${PRUNEFRONT_VENV:-.venv}/bin/activate"  # on a file system that all nodes see',
        *needed,
        *(endpoint if launch.in_objects else ()),
        f"export {variables} RAY_AUTH_MODE=token",
        "RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')",
        "export RAY_AUTH_TOKEN",
        "",
        'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)',
        'ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d " " -f 1)',
        'address="$ip:$((20000 + SLURM_JOB_ID % 20000))"',
        "",
        'srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \\',
        f'    ray start --head --node-ip-address="$ip" --port="${{address##*:}}" --include-dashboard=false {start} &',
        f"for try in $(seq {JOIN_S // 5}); do",
        '    ray status --address "$address" > /dev/null 2>&1 && break',
        "    sleep 5",
        "done",
        "others=$((SLURM_JOB_NUM_NODES - 1))",
        'if [ "$others" -gt 0 ]; then',
        '    srun --nodes="$others" --ntasks="$others" --exclude="$head" --overlap \\',
        f'        ray start --address="$address" {start} &',
        "fi",
        "",
        "set -m  # without it a process in the background ignores the signal of Ctrl-C",
        f"{command} &",
        "driver=$!",
        "trap 'kill -INT \"$driver\"' INT TERM",
        'wait "$driver" || wait "$driver"  # the first one ends with the signal, too',
    )
