"""Options that take several words: `--tasks A B`."""

from __future__ import annotations

SWEPT = ("--tasks", "--models", "--methods")  # options that take several words
LISTS = {"sweep": SWEPT, "fit-pruner": ("--tasks",)}  # of which command


def spread(arguments: list[str], lists: tuple[str, ...] = SWEPT) -> list[str]:
    """Return a command line in which `--tasks A B` is `--tasks A --tasks B`, as its parser reads lists.

    What follows `--` belongs to the last list: so were tasks given once.

    Raises:
        BadInput: a list is empty.
    """
    made: list[str] = []
    current = last = None
    for word, following in zip(arguments, [*arguments[1:], "-"], strict=True):
        if word == "--" and last is not None:
            current = last
        elif word.startswith("-"):
            current = word if word in lists else None
            last = current or last
            if current and following != "--" and following.startswith("-"):
                from pipeline.study.records import BadInput

                raise BadInput(f"{word} has no value. Give one or several: {word} A B.")
            made += [] if current else [word]
        elif current is not None:
            made += [current, word]
        else:
            made.append(word)
    return made
