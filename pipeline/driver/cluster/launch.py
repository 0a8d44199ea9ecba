"""The search and the nodes that a manifest is made from, and what is refused of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.driver.cluster.arguments import arguments
from pipeline.driver.cluster.secrets import (
    OF_LEDGER,
    OF_OBJECT_STORE,
    OF_TRACKING,
    RAY_TOKEN,
    Secret,
    refuse_secret,
)
from pipeline.driver.execute.cluster import WORKER_ENVIRONMENT
from pipeline.driver.search.request import Search
from pipeline.study.records import BadInput
from pipeline.study.store import JOURNAL, LATER, is_object_store

# Of every node's processes; the driver passes the second part to its workers, too.
NODE_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"} | WORKER_ENVIRONMENT
POSTGRES = "postgresql://USER@HOST/DATABASE"
_NAME = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,45}[a-z0-9])?"
)  # of Kubernetes objects, with room for what KubeRay adds
_IMAGE = re.compile(r"[\w][\w.:/@-]*")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,-]*")  # of Slurm's partitions, of AWS's regions and machines
_CLOCK = re.compile(r"(\d+-)?\d{1,2}:\d\d:\d\d")


@dataclass(frozen=True)
class Nodes:
    """The worker nodes of a cluster, all equal; the head runs the driver and no trials."""

    count: int
    cpus: int
    gpus: int
    memory_gb: int
    spot: bool  # may vanish at any time: the trials on them go on elsewhere


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A search and the cluster that runs it."""

    search: Search
    name: str  # of the job
    nodes: Nodes
    image: str
    shared_store: bool  # the store's folder is the same on all nodes
    volume_claim: str | None  # of Kubernetes, mounted at the store's folder
    secret: str  # the Kubernetes Secret
    namespace: str | None
    partition: str | None  # of Slurm
    time: str | None  # of Slurm: [days-]hours:minutes:seconds
    region: str  # of AWS
    instance: str  # type of AWS's machines
    accelerator: str | None = None  # SkyPilot's name of the GPUs
    dashboard: str  # where `ray job submit` finds the cluster
    endpoint: str | None  # of the object store, where it is not AWS's

    @property
    def in_objects(self) -> bool:
        """Whether the store is an object store."""
        return is_object_store(self.search.store)

    @property
    def driver_secrets(self) -> tuple[Secret, ...]:
        """Secrets of the driver besides Ray's token."""
        tracking = (self.search.tracking or "").startswith("http")
        server = not (self.search.ledger or "").startswith(JOURNAL)
        return (*(OF_LEDGER if server else ()), *(OF_TRACKING if tracking else ()), *self.worker_secrets)

    @property
    def worker_secrets(self) -> tuple[Secret, ...]:
        """Secrets of trials besides Ray's token; they use neither ledger nor MLflow."""
        return OF_OBJECT_STORE if self.in_objects else ()

    @property
    def ray_token(self) -> Secret:
        """The secret of every process of the cluster."""
        return RAY_TOKEN

    @property
    def command(self) -> list[str]:
        """The command line of the driver, in the cluster."""
        search = replace(self.search, address="auto", concurrent=self.search.concurrent or self._at_once)
        return ["prunefront", *arguments(search)]

    @property
    def _at_once(self) -> int:
        """Trials that fit on all nodes together: the search has work for nodes that join late."""
        search, nodes = self.search, self.nodes
        per_node = int(nodes.cpus / search.cpus_per_trial + 1e-9)
        gpus = search.gpus_per_trial if search.gpus_per_trial is not None else float(nodes.gpus > 0)
        if gpus:
            per_node = min(per_node, int(nodes.gpus / gpus + 1e-9))
        return max(1, per_node * nodes.count)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the driver reads from the head's disk."""
        search = self.search
        named = [Path(each).expanduser() for each in (search.task, search.model)]
        local = [path.resolve() for path in named if path.suffix == ".toml" or path.is_dir()]
        return (*local, *(() if search.space is None else (search.space.expanduser().resolve(),)))


def check_launch(launch: Launch) -> None:
    """Refuse what no cluster can run: files of one node alone, and secrets in addresses.

    Raises:
        BadInput: with the first thing that is wrong.
    """
    search = launch.search
    _check_ledger(search.ledger)
    _check_tracking(search.tracking)
    _check_store(launch)
    if launch.endpoint is not None:
        way_out = "keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        refuse_secret("AWS_ENDPOINT_URL", launch.endpoint, way_out=way_out)
    nodes = launch.nodes
    for option, value in (
        ("--nodes", nodes.count),
        ("--node-cpus", nodes.cpus),
        ("--node-memory", nodes.memory_gb),
    ):
        if value <= 0:
            raise BadInput(f"{option} is {value}. A cluster has nodes with cores and memory.")
    gpus = search.gpus_per_trial or 0.0
    if search.cpus_per_trial > nodes.cpus or gpus > nodes.gpus:
        raise BadInput(
            f"A trial needs {search.cpus_per_trial:g} cores and {gpus:g} GPUs of one node, and a node "
            f"has {nodes.cpus} and {nodes.gpus}. Give --node-cpus and --node-gpus, or less per trial."
        )
    for option, name in (
        ("--secret", launch.secret),
        ("--namespace", launch.namespace),
        ("--claim", launch.volume_claim),
    ):
        if name is not None and not _NAME.fullmatch(name):
            raise BadInput(
                f"{option} is {name!r}; Kubernetes names have lower-case letters, digits and '-' alone."
            )
    refuse_secret("--dashboard", launch.dashboard, way_out="Ray's token is read from ~/.ray/auth_token.")
    for option, word in (
        ("--partition", launch.partition),
        ("--region", launch.region),
        ("--instance", launch.instance),
        ("--accelerator", launch.accelerator),
    ):
        if word is not None and not _WORD.fullmatch(word):
            raise BadInput(f"{option} is {word!r}. Names of partitions, regions and machines are one word.")
    check_image(launch)
    if launch.time is not None and not _CLOCK.fullmatch(launch.time):
        raise BadInput(f"--time is {launch.time!r}. Slurm's time is [days-]hours:minutes:seconds.")


def check_image(launch: Launch) -> None:
    """Refuse a name of an image that would add lines to a manifest.

    Raises:
        BadInput: it is none.
    """
    if not _IMAGE.fullmatch(launch.image):
        raise BadInput(f"--image is {launch.image!r}. An image is named as registry/name:tag.")


def _check_ledger(ledger: str | None) -> None:
    if ledger is None or ledger.startswith("sqlite"):
        raise BadInput(
            "On a cluster the ledger is where a driver that is restarted on another node finds it, and a sqlite file "
            f"is one node's. Give --ledger {POSTGRES}, whose password comes from PGPASSWORD; or, without a server, "
            f"--ledger {JOURNAL}/SHARED/FOLDER."
        )
    folder = ledger.removeprefix(JOURNAL)
    if folder != ledger and not Path(folder).is_absolute():
        raise BadInput(
            f"{ledger} may be a folder of one node. On a cluster all nodes share the ledger's folder. "
            f"Give its whole path: {JOURNAL}/SHARED/FOLDER."
        )
    refuse_secret("--ledger", ledger, way_out=f"{POSTGRES}, with the password in PGPASSWORD.")


def _check_tracking(tracking: str | None) -> None:
    if tracking == LATER:
        return
    if tracking is None or not tracking.startswith(("http://", "https://")):
        raise BadInput(
            "On a cluster MLflow is a server: a file or a sqlite database is one node's. Give --tracking "
            "https://mlflow.example.org (or MLFLOW_TRACKING_URI); who we are comes from MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD. Without a server, --tracking {LATER}: `prunefront studies --sync` publishes "
            "the study when it has ended."
        )
    refuse_secret(
        "--tracking",
        tracking,
        way_out="who we are comes from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
    )


def _check_store(launch: Launch) -> None:
    store = launch.search.store
    if launch.in_objects:
        return
    shared = launch.shared_store or launch.volume_claim is not None
    if not shared or not store.is_absolute():
        raise BadInput(
            f"{store} may be a folder of one node. On a cluster all nodes share the store. Give the "
            "whole path of a shared folder by --store, and confirm it by --shared-store (or, in "
            "Kubernetes, --claim: the volume that is mounted there)."
        )
