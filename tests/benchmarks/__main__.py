"""make bench: every benchmark in turn. Ratios of pairs, never absolute times; nothing here is asserted."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("step_time", "sweep_overhead", "against_chance")

if __name__ == "__main__":
    for name in BENCHMARKS:
        print(f"\n{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=True)
