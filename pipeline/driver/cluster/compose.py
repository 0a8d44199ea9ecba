"""Docker Compose: PostgreSQL, MLflow and a Ray head that runs the search, on one machine.

What a cluster needs and this machine may not have is brought along: a ledger, an MLflow server and a folder for the
store. Addresses that are given are used instead. Fields are those of the Compose Specification.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.driver.cluster.launch import NODE_ENVIRONMENT, Launch
from pipeline.driver.cluster.secrets import OF_LEDGER, Secret
from pipeline.driver.cluster.yaml_text import dump

POSTGRES_IMAGE = "postgres:17"
LEDGER = "postgresql://prunefront@db/prunefront"
MLFLOW_DATABASE = (
    "postgresql+psycopg://prunefront@db/mlflow"  # one of its own: both have a table alembic_version
)
TRACKING = "http://mlflow:5000"
HOME = "/home/prunefront"  # of the image's user: a new volume has the owner that the image has there
TRIES = 3  # of a search that fails; the same command goes on with its study

Tree = dict[str, Any]


def completed(launch: Launch) -> Launch:
    """Return the launch with a ledger, an MLflow server and a store, where none is given, on one machine."""
    search = launch.search
    own_folder = not launch.in_objects and not search.store.is_absolute()
    search = replace(
        search,
        ledger=search.ledger or LEDGER,
        tracking=search.tracking or TRACKING,
        store=Path(HOME) / search.store.name if own_folder else search.store,
    )
    return replace(
        launch,
        search=search,
        nodes=replace(launch.nodes, count=min(launch.nodes.count, 1)),
        shared_store=True,
    )


def text(launch: Launch) -> str:
    """Return the file, for `docker compose -f FILE up`."""
    needed = " ".join(f"{secret.variable}=…" for secret in launch.driver_secrets if secret.needed)
    lines = (
        f"Once:     a file .env beside this one, readable by you alone, of lines {needed}",
        f"Then:     docker compose -f {launch.name}.yaml up --detach --wait",
        f"          docker compose -f {launch.name}.yaml logs --follow search",
        "MLflow:   http://127.0.0.1:5000",
    )
    return "".join(f"# {line}\n" for line in lines) + dump(tree(launch))


def tree(launch: Launch) -> Tree:
    """Return the file as a tree."""
    search = launch.search
    services: Tree = {}
    if search.ledger == LEDGER:
        services["db"] = _database(with_mlflow=search.tracking == TRACKING)
    if search.tracking == TRACKING:
        services["mlflow"] = _mlflow(launch, own_database=search.ledger == LEDGER)
    services["search"] = _search(launch, after=tuple(services))
    volumes: Tree = {name: {} for name in ("db", "mlflow") if name in services}
    if _own_volume(launch):
        volumes["runs"] = {}
    found: Tree = {"name": launch.name, "services": services}
    if volumes:
        found["volumes"] = volumes
    if "configs" in services.get("db", {}):
        found["configs"] = {"mlflow_database": {"content": "CREATE DATABASE mlflow;\n"}}
    return found


def _database(*, with_mlflow: bool) -> Tree:
    service: Tree = {
        "image": POSTGRES_IMAGE,
        "environment": {
            "POSTGRES_USER": "prunefront",
            "POSTGRES_DB": "prunefront",
            "POSTGRES_PASSWORD": _value(OF_LEDGER[0]),
        },
        "volumes": ["db:/var/lib/postgresql/data"],
        "healthcheck": {
            "test": ["CMD", "pg_isready", "--host", "127.0.0.1", "--username", "prunefront"],
            "interval": "5s",
            "timeout": "5s",
            "retries": 24,
        },
        "restart": "unless-stopped",
    }
    if with_mlflow:
        target = "/docker-entrypoint-initdb.d/mlflow.sql"
        service["configs"] = [{"source": "mlflow_database", "target": target}]
    return service


def _mlflow(launch: Launch, *, own_database: bool) -> Tree:
    command = ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]
    command += ["--backend-store-uri", MLFLOW_DATABASE if own_database else f"sqlite:///{HOME}/mlflow.db"]
    command += ["--artifacts-destination", f"{HOME}/artifacts"]
    command += ["--allowed-hosts", "mlflow:5000,localhost:5000,127.0.0.1:5000"]
    probe = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health')"
    service: Tree = {
        "image": launch.image,
        "command": command,
        "volumes": [f"mlflow:{HOME}"],
        "ports": ["127.0.0.1:5000:5000"],
        "healthcheck": {
            "test": ["CMD", "python", "-c", probe],
            "interval": "5s",
            "timeout": "5s",
            "retries": 24,
        },
        "restart": "unless-stopped",
    }
    if own_database:
        service["environment"] = {OF_LEDGER[0].variable: _value(OF_LEDGER[0])}
        service["depends_on"] = {"db": {"condition": "service_healthy"}}
    return service


def _search(launch: Launch, *, after: tuple[str, ...]) -> Tree:
    nodes = launch.nodes
    environment: Tree = NODE_ENVIRONMENT | {"RAY_AUTH_MODE": "token"}
    if launch.in_objects and launch.endpoint:
        environment["AWS_ENDPOINT_URL"] = launch.endpoint
    environment |= {secret.variable: _value(secret) for secret in launch.driver_secrets}
    limits: Tree = {"cpus": str(nodes.cpus), "memory": f"{nodes.memory_gb}g"}
    resources: Tree = {"limits": limits}
    if nodes.gpus:
        device = {"driver": "nvidia", "count": nodes.gpus, "capabilities": ["gpu"]}
        resources["reservations"] = {"devices": [device]}
    service: Tree = {
        "image": launch.image,
        "init": True,  # it ends the processes that Ray leaves
        "command": ["bash", "-c", _script(launch)],
        "environment": environment,
        "volumes": _volumes(launch),
        "shm_size": f"{max(1, nodes.memory_gb // 4)}g",  # Ray's object store
        "deploy": {"resources": resources},
        "restart": f"on-failure:{TRIES}",
        "stop_grace_period": "2m",  # SIGTERM ends a search as Ctrl-C does
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    if after:
        service["depends_on"] = {name: {"condition": "service_healthy"} for name in after}
    return service


def _script(launch: Launch) -> str:
    """Return the head's commands; compose reads `$$` as `$`."""
    gpus = f" --num-gpus={launch.nodes.gpus}" if launch.nodes.gpus else ""
    token = "python -c 'import secrets; print(secrets.token_hex(32))'"
    lines = (
        f"export RAY_AUTH_TOKEN=$({token})",
        f"ray start --head --include-dashboard=false --num-cpus={launch.nodes.cpus}{gpus}",
        f"exec {shlex.join(launch.command)}",
    )
    return "\n".join(("set -eu", *lines, "")).replace("$", "$$")


def _volumes(launch: Launch) -> list[str]:
    if launch.in_objects:
        store: list[str] = []
    else:
        place = launch.search.store
        store = [f"runs:{HOME}"] if _own_volume(launch) else [f"{place}:{place}"]
    return store + [f"{path}:{path}:ro" for path in dict.fromkeys(_folder(file) for file in launch.files)]


def _folder(path: Path) -> Path:
    """Return what is mounted for a file: its folder, since a task file names others beside it."""
    return path.parent if path.suffix == ".toml" else path


def _own_volume(launch: Launch) -> bool:
    return not launch.in_objects and launch.search.store.is_relative_to(HOME)


def _value(secret: Secret) -> str | None:
    """Return what compose fills in from its environment, or from .env; None: not set where it is missing there."""
    return f"${{{secret.variable}:?is missing}}" if secret.needed else None
