"""The kinds of manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.driver.cluster import autoscaler, compose, dockerfile, kuberay, ray_job, skypilot, slurm
from pipeline.driver.cluster.launch import Launch, check_image, check_launch
from pipeline.driver.search.check import check
from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput

DOCKERFILE = "dockerfile"
KINDS: dict[str, Callable[[Launch], str]] = {
    "job": ray_job.text,
    "kuberay": kuberay.text,
    "autoscaler": autoscaler.text,
    "slurm": slurm.text,
    "compose": compose.text,
    "skypilot": skypilot.text,
    DOCKERFILE: dockerfile.text,
}

# Kinds that bring along what others have to be given.
COMPLETED: dict[str, Callable[[Launch], Launch]] = {"compose": compose.completed}
OF_ONE = {"--partition": "slurm", "--time": "slurm", "--namespace": "kuberay", "--accelerator": "skypilot"}
NOT_SHARED = ("autoscaler", "skypilot")  # their machines are new: nothing is mounted there
NOTES = {
    "skypilot": (
        "SkyPilot uses sudo in the image: build it without its line USER (docs/guide/cluster.md), and push it to a "
        "registry.",
    )
}


@dataclass(frozen=True)
class Manifest:
    """The text that is printed, and what the user has to do besides."""

    kind: str
    name: str  # of the job
    text: str
    notes: tuple[str, ...]


def manifest(kind: str, launch: Launch) -> Manifest:
    """Return the manifest of a kind.

    Raises:
        BadInput: there is no such kind, no cluster can run the search (an image can be built for any search), or an
            option is another kind's.
    """
    if kind not in KINDS:
        raise BadInput(
            f"There is no manifest {kind!r}.{did_you_mean(kind, KINDS)} It is one of {', '.join(KINDS)}."
        )
    launch = COMPLETED[kind](launch) if kind in COMPLETED else launch
    check_image(launch)
    if kind != DOCKERFILE:
        check(replace(launch.search, address="auto"))  # not on this machine
        check_launch(launch)
    for option, own in OF_ONE.items():
        if kind != own and getattr(launch, option.removeprefix("--")) is not None:
            raise BadInput(f"{option} is of {own}, and {kind} has no place for it. Leave it out.")
    if kind == "kuberay" and not launch.in_objects and launch.volume_claim is None:
        raise BadInput(
            f"No claim is given for {launch.search.store}. In Kubernetes a folder is a volume. Give "
            "--claim, the name of a PersistentVolumeClaim that many nodes may write (ReadWriteMany)."
        )
    notes = (
        ()
        if kind == DOCKERFILE
        else tuple(f"The driver reads {path}: it is to be there." for path in launch.files)
    )
    if kind in NOT_SHARED and not launch.in_objects:
        notes += (
            f"{launch.search.store} is to be mounted on every machine, by its image or initialization_commands.",
        )
    return Manifest(kind, launch.name, KINDS[kind](launch), notes + NOTES.get(kind, ()))
