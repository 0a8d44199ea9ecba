"""Trials and exclusive tasks on Ray: the only door to it."""

from pipeline.execute.alone import NeverAlone, run_alone
from pipeline.execute.cluster import Cluster, Resources, check_resources, cluster_of_this_machine, connect
from pipeline.execute.nodes import NodeView, StoreUnseen, is_here, views_of
from pipeline.execute.packing import Packing, Peak, pack
from pipeline.execute.queue import run_each, run_queue
from pipeline.execute.trials import Desk, Job, run_trials

__all__ = [
    "Cluster",
    "Desk",
    "Job",
    "NeverAlone",
    "NodeView",
    "Packing",
    "Peak",
    "Resources",
    "StoreUnseen",
    "check_resources",
    "cluster_of_this_machine",
    "connect",
    "is_here",
    "pack",
    "run_alone",
    "run_each",
    "run_queue",
    "run_trials",
    "views_of",
]
