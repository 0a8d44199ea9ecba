"""How long a network takes: a table of its blocks, measured once, and whole networks.

A table is measured inside whole networks, where caches are as full as they will be: a few networks whose layers
keep different numbers of heads and neurons are run in turns, and the time from block to block is taken. So a
block's time holds its LayerNorm, its residual and what Python costs. Smaller networks, which fit into the caches,
are run as a whole beside them. Warm-up first, then medians over rounds.

Timed is one forward pass in inference mode, in fp32, of rows without padding that are on the device already: no
tokenisation, no transfer. Weights do not matter, only shapes. The process keeps the memory that it frees, as a
server's allocator does; how much of its time it waited for a core is noted beside every time.
"""

from pipeline.trial.latency.clocks import Clock, CpuClock, CudaClock
from pipeline.trial.latency.layouts import grids
from pipeline.trial.latency.tasks import FrontWanted, TableWanted, bench_here, table_of, time_front
from pipeline.trial.latency.timing import TABLE_SECONDS, measure_table, measure_whole

__all__ = [
    "TABLE_SECONDS",
    "Clock",
    "CpuClock",
    "CudaClock",
    "FrontWanted",
    "TableWanted",
    "bench_here",
    "grids",
    "measure_table",
    "measure_whole",
    "table_of",
    "time_front",
]
