"""Search the built-in task and print its front: python examples/search_builtin.py [TRIALS]

It takes a minute and a half on two cores and downloads nothing. The same command again continues the study.
"""

import sys

from prunefront import search


def main(trials: int = 5) -> None:
    """Search, then print one line for each network on the front."""
    front = search(trials=trials)
    anchors = front.spec.anchors
    print(f"dense {anchors.dense:.3f}, constant prediction {anchors.constant:.3f}")
    for point in front.points:
        speed = f", {point.speedup:.1f} x as fast" if point.speedup else ""
        print(f"{point.compression:6.1%} removed: {point.metric:.3f}, {point.size_mb:.2f} MB{speed}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
