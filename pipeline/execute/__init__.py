"""Trials and exclusive tasks on Ray: the only door to it."""

from pipeline.execute.alone import NeverAlone, run_alone
from pipeline.execute.cluster import Cluster, Resources, check_resources, cluster_of_this_machine, connect
from pipeline.execute.queue import run_queue
from pipeline.execute.trials import Desk, Job, run_each, run_trials

__all__ = [
    "Cluster",
    "Desk",
    "Job",
    "NeverAlone",
    "Resources",
    "check_resources",
    "cluster_of_this_machine",
    "connect",
    "run_alone",
    "run_each",
    "run_queue",
    "run_trials",
]
