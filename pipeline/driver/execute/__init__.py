"""Run trials and exclusive tasks on Ray; no other part of the package imports ray."""

from pipeline.driver.execute.cluster import (
    Cluster,
    Resources,
    check_resources,
    cluster_of_this_machine,
    connect,
    room,
)
from pipeline.driver.execute.exclusive import NeverAlone, run_alone
from pipeline.driver.execute.nodes import NodeView, StoreUnseen, is_here, views_of
from pipeline.driver.execute.packing import Packing, Peak, pack
from pipeline.driver.execute.private import OPEN, is_open
from pipeline.driver.execute.protocol import Loss, TrialQueue
from pipeline.driver.execute.queue import SideTasks, run_each, run_queue
from pipeline.driver.execute.start import RayNotStarted
from pipeline.driver.execute.trials import run_trials

__all__ = [
    "OPEN",
    "Cluster",
    "Loss",
    "NeverAlone",
    "NodeView",
    "Packing",
    "Peak",
    "RayNotStarted",
    "Resources",
    "SideTasks",
    "StoreUnseen",
    "TrialQueue",
    "check_resources",
    "cluster_of_this_machine",
    "connect",
    "is_here",
    "is_open",
    "pack",
    "room",
    "run_alone",
    "run_each",
    "run_queue",
    "run_trials",
    "views_of",
]
