"""Ray's cluster launcher on AWS: `ray up`, then the search as a job; `ray down` at the end."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from pipeline.driver.cluster.launch import NODE_ENVIRONMENT, Launch

HOME = "/home/prunefront"  # of the image's user, which `dockerfile` makes
TOKEN = "~/.ray/auth_token"  # what `ray get-auth-token --generate` makes
SECRETS = "~/.prunefront.env"
PORT = 6379
IDLE_MINUTES = 15
HEAD_INSTANCE = "m5.large"

Tree = dict[str, Any]


def text(launch: Launch) -> str:
    """Return the cluster's file, with the commands that use it above it."""
    file = f"{launch.name}.yaml"
    variables = " ".join(f"{secret.variable}=…" for secret in launch.driver_secrets)
    read = f"set -a; . {HOME}/.prunefront.env; set +a"
    run = f"{read}; RAY_AUTH_MODE=token {shlex.join(launch.command)}"
    lines = (
        "Once:     ray get-auth-token --generate > /dev/null",
        f"          and {SECRETS}, readable by you alone, of lines {variables}",
        f"Then:     RAY_AUTH_MODE=token ray up -y {file}",
        f"          RAY_AUTH_MODE=token ray exec {file} {shlex.quote(run)} --tmux",
        f"          RAY_AUTH_MODE=token ray down -y {file}",
    )
    return "".join(f"# {line}\n" for line in lines) + str(
        yaml.safe_dump(tree(launch), sort_keys=False, width=110)
    )


def tree(launch: Launch) -> Tree:
    """Return the cluster's file as a tree: two types of nodes; the workers may be spot nodes."""
    start = f"set -a; . {HOME}/.prunefront.env; set +a; ulimit -n 65536; RAY_AUTH_MODE=token ray start"
    # each is a part of a shell's command line
    own = [f"--volume {shlex.quote(f'{launch.search.store}:{launch.search.store}')}"]
    if launch.in_objects:
        own = [f"--env AWS_ENDPOINT_URL={shlex.quote(launch.endpoint)}"] if launch.endpoint else []
    variables = [f"--env {name}={value}" for name, value in NODE_ENVIRONMENT.items()]
    return {
        "cluster_name": launch.name,
        "max_workers": launch.nodes.count,
        "idle_timeout_minutes": IDLE_MINUTES,
        "provider": {"type": "aws", "region": launch.region, "cache_stopped_nodes": False},
        "auth": {"ssh_user": "ubuntu"},
        "docker": {
            "image": launch.image,
            "container_name": "prunefront",
            "pull_before_run": True,
            "run_options": ["--ulimit nofile=65536:65536", *variables, *own],
        },
        "file_mounts": {f"{HOME}/.ray/auth_token": TOKEN, f"{HOME}/.prunefront.env": SECRETS},
        "head_node_type": "head",
        "available_node_types": _node_types(launch),
        "head_start_ray_commands": [
            "ray stop",
            f"{start} --head --port={PORT} --num-cpus=0 --autoscaling-config={HOME}/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": ["ray stop", f"{start} --address=$RAY_HEAD_IP:{PORT}"],
    }


def _node_types(launch: Launch) -> Tree:
    nodes = launch.nodes
    workers: Tree = {"InstanceType": launch.instance}
    if nodes.spot:
        workers["InstanceMarketOptions"] = {"MarketType": "spot"}
    return {
        # no trials run beside the driver
        "head": {"resources": {"CPU": 0}, "node_config": {"InstanceType": HEAD_INSTANCE}},
        "trials": {
            "resources": {"CPU": nodes.cpus} | ({"GPU": nodes.gpus} if nodes.gpus else {}),
            "min_workers": nodes.count,
            "max_workers": nodes.count,
            "node_config": workers,
        },
    }
