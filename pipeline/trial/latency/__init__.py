"""The latency of networks: a table of their blocks, measured once per study, and whole networks.

A table is measured inside whole networks, where caches are as full as in use: a few networks whose layers keep
different numbers of heads and neurons run in turns, and the time from block to block is taken. So a block's time
includes its LayerNorm, its residual and Python's overhead. Smaller networks, which fit into the caches, are timed as
a whole. Warm-up comes first; the results are medians over rounds.

One measurement is a forward pass in inference mode, on a CPU in fp32, on a GPU as in `serving`, of rows without padding
that are already on the device: no tokenisation, no transfer. Only shapes matter, weights do not. The process keeps the
memory that it frees, as a server's allocator does; the share of time that it had a core is recorded beside every
latency.
"""

from pipeline.trial.latency.clocks import Clock, CpuClock, CudaClock
from pipeline.trial.latency.layouts import grids
from pipeline.trial.latency.tasks import FrontRequest, TableRequest, setup_on, table_of, time_front
from pipeline.trial.latency.timing import (
    TABLE_SECONDS,
    measure_table,
    measure_whole,
    quartiles,
    random_rows,
    time_in_turns,
)

__all__ = [
    "TABLE_SECONDS",
    "Clock",
    "CpuClock",
    "CudaClock",
    "FrontRequest",
    "TableRequest",
    "grids",
    "measure_table",
    "measure_whole",
    "quartiles",
    "random_rows",
    "setup_on",
    "table_of",
    "time_front",
    "time_in_turns",
]
