"""Which nodes of a running cluster see the driver's disk."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_TIMEOUT_S = 120.0  # for a process on every node
BOOT = Path("/proc/sys/kernel/random/boot_id")


class StoreUnseen(RuntimeError):  # noqa: N818 (a fact about a node, not a fault of the program)
    """A node that joined a running search does not see its store."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address}, which has joined since the start, does not see the store, as all nodes must. Take that "
            "node away, or give it the folder: the same command goes on from here."
        )


@dataclass(frozen=True)
class NodeView:
    """One node that may run trials."""

    address: str
    here: bool  # it is the driver's own machine
    sees: bool  # the requested file


def views_of(file: Path) -> tuple[NodeView, ...]:
    """Return every node with cores or GPUs, and whether a file is there; none at a node that does not answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    rows: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    found = []
    for row in rows:
        if row["Alive"] and (row["Resources"].get("CPU") or row["Resources"].get("GPU")):
            there = NodeAffinitySchedulingStrategy(row["NodeID"], soft=False)
            where: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": there}
            task: Any = ray.remote(**where)(_look)
            found.append((str(row["NodeManagerAddress"]), task.remote(str(file))))
    ready, _ = ray.wait([each for _, each in found], num_returns=len(found), timeout=ANSWER_TIMEOUT_S)
    mine, views = _machine(), []
    for address, answer in found:
        machine, sees = "", False
        if answer in ready:
            with suppress(ray.exceptions.RayError):
                machine, sees = ray.get(answer)
        views.append(NodeView(address, machine == mine, sees))
    return tuple(views)


def is_here(address: str) -> bool:
    """Return whether HOST:PORT (or `auto`, `local`) is this machine, as far as that is known without a connection."""
    host = address.rpartition(":")[0].strip("[]").rpartition("/")[2]
    if not host:
        return True
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.bind(place)  # only an address of this machine can be bound
                return True
    except OSError:
        return True  # Ray refuses an unknown name
    return False


def _look(file: str) -> tuple[str, bool]:
    return _machine(), Path(file).is_file()


def _machine() -> str:
    """Return a name that is unique to this machine and this boot."""
    with suppress(OSError):
        return f"{socket.gethostname()} {BOOT.read_text().strip()}"
    return socket.gethostname()
