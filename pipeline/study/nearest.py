"""The nearest known name to one that is mistyped, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LIKENESS = 0.6  # of difflib; 1: the same


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean …?" with the nearest known names, two at most; nothing if none is near.

    A name's last part counts as the name: sst2 is near glue/sst2.
    """
    by_text: dict[str, str] = {}
    for each in known:
        by_text.setdefault(each.lower(), each)
        by_text.setdefault(each.rpartition("/")[2].lower(), each)
    near = [by_text[text] for text in get_close_matches(name.lower(), by_text, n=3, cutoff=LIKENESS)]
    near = list(dict.fromkeys(near))[:2]
    return f" Did you mean {' or '.join(near)}?" if near else ""
