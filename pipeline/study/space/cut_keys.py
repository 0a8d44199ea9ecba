"""The keys of a space that say where to cut: a threshold on scores, or a target."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

from pipeline.study.records import BadInput
from pipeline.study.space.spacefile import Key

# Where to cut: every space has exactly one of these. The trial reads it; it is not a field of a method. A packaged file
# may have both: the target then is the default, the threshold what a user's file may give in its place.
ALLOCATION_KEYS = ("threshold", "target")
ANY_METHODS = "target"  # the one with the same meaning for all methods
TRIAL_KEYS = (*ALLOCATION_KEYS, "rewind")  # the keys of a method's file that are not fields of the method
RANK_BY, OWN_RANKING = "rank_by", "own"  # which method's scores rank units: its own, or another's


def one_allocation(keys: dict[str, Key], given: Set[str], file: str) -> dict[str, Key]:
    """Return the keys with one of threshold and target, where the packaged file may have both.

    The target stays, unless the user has given a threshold alone. A threshold is one on the method's own scores.

    Args:
        keys: of the space.
        given: the names of those that the user has set.
        file: for messages.

    Raises:
        BadInput: the user has given both, or a threshold on scores of another method.
    """
    if all(name in keys for name in ALLOCATION_KEYS) and not {*ALLOCATION_KEYS} <= given:
        dropped = "target" if "threshold" in given else "threshold"
        keys = {name: key for name, key in keys.items() if name != dropped}
    if "threshold" in keys and keys[RANK_BY].values != (OWN_RANKING,):
        if RANK_BY in given:
            raise BadInput(
                f"{file} has a threshold, and [{RANK_BY}] {keys[RANK_BY].range_text}. A threshold is "
                f"on the scores of the method itself. Give a target instead, or leave [{RANK_BY}] "
                "out."
            )
        keys[RANK_BY] = replace(keys[RANK_BY], default=OWN_RANKING, choices=(), spread=())
    check_allocation(keys, file)
    return keys


def check_allocation(keys: Mapping[str, Key], file: str) -> None:
    """Refuse a space with both, or none.

    Raises:
        BadInput: it has not exactly one of the two keys.
    """
    if sum(name in keys for name in ALLOCATION_KEYS) != 1:
        has = [name for name in ALLOCATION_KEYS if name in keys]
        raise BadInput(
            f"{file} has {has}. A space has one of the keys {' and '.join(ALLOCATION_KEYS)}. Keep one."
        )
