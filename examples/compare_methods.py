"""Compare two methods over seeds: python examples/compare_methods.py TASK [SEEDS] [TRIALS]

Differences are tested over seeds; below three seeds none is called real.
"""

import sys

from prunefront import compare, search, sentences

METHODS = ("snip", "chance")


def main(task: str = "builtin/docstrings", seeds: int = 3, trials: int = 4) -> None:
    """Search with each method and seed, then print which differences are real."""
    names = [
        search(
            task=task, method=method, seed=seed, trials=trials, name=f"compare-{method}-seed{seed}"
        ).spec.name
        for method in METHODS
        for seed in range(seeds)
    ]
    for sentence in sentences(compare(names)):
        print(sentence)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
