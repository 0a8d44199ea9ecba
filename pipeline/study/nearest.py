"""The nearest known name to one that is mistyped, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

LIKENESS = 0.6  # of difflib; 1: the same
ABOUT_AS_NEAR = 0.1  # a second name is less alike by this at most


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean …?" with the nearest known name, or two about as near; nothing if none is near.

    A name's last part counts as the name: sst2 is near glue/sst2. The dashes of an option do not count.
    """
    by_text: dict[str, str] = {}
    for each in known:
        by_text.setdefault(_plain(each), each)
        by_text.setdefault(_plain(each.rpartition("/")[2]), each)
    plain = _plain(name)
    texts = get_close_matches(plain, by_text, n=3, cutoff=LIKENESS)
    likeness = [SequenceMatcher(None, text, plain).ratio() for text in texts]  # as get_close_matches has it
    close = (
        by_text[t] for t, like in zip(texts, likeness, strict=True) if like >= likeness[0] - ABOUT_AS_NEAR
    )
    near = list(dict.fromkeys(close))[:2]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _plain(name: str) -> str:
    return name.lower().lstrip("-")
