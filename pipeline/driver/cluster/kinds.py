"""The kinds of manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.driver.cluster import autoscaler, compose, dockerfile, kuberay, ray_job, skypilot, slurm
from pipeline.driver.cluster.launch import Launch, check_image, check_launch
from pipeline.driver.search.check import check
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
        BadInput: there is no such kind, or no cluster can run the search (an image can be built for any search).
    """
    if kind not in KINDS:
        raise BadInput(f"A cluster's manifest is one of {', '.join(KINDS)}; given was {kind!r}.")
    launch = COMPLETED[kind](launch) if kind in COMPLETED else launch
    check_image(launch)
    if kind != DOCKERFILE:
        check(replace(launch.search, address="auto"))  # not on this machine
        check_launch(launch)
    if kind == "kuberay" and not launch.in_objects and launch.volume_claim is None:
        raise BadInput(
            f"In Kubernetes a folder is a volume; no claim is given for {launch.search.store}. "
            "Give --claim, the name of a PersistentVolumeClaim that many nodes may write (ReadWriteMany)."
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
