"""Ctrl-C, SIGTERM and SIGHUP: the first is answered at once and ends the command in order, the second leaves at once.

Spot machines, `kubectl delete`, `scancel`, systemd and `docker stop` send SIGTERM; a terminal that is closed, SIGHUP.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from pipeline.cli.output import errors

INTERRUPTED = 130  # exit code
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROMISE = "Everything that was found is kept"


@contextmanager
def interruptible(arguments: Sequence[str] | None = None) -> Iterator[None]:
    """Raise KeyboardInterrupt at the first of these signals; leave with INTERRUPTED at the second.

    A signal that is ignored, as SIGHUP is below `nohup`, stays so.

    Args:
        arguments: of the command that goes on, which is printed on leaving; None if nothing does.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    asked = False

    def answer(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            with suppress(OSError, ValueError):
                if arguments is not None:
                    errors(goes_on(arguments))
            os._exit(INTERRUPTED)
        asked = True
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        with suppress(OSError, ValueError):
            errors(f"{signal.Signals(number).name}: ending in order. {PROMISE}; once more leaves at once.")
        raise KeyboardInterrupt

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def goes_on(arguments: Sequence[str]) -> str:
    """Return what is said at the end of a command that was interrupted, with the command that goes on."""
    return (
        f"Interrupted. {PROMISE}; the same command goes on from here:\n  prunefront {shlex.join(arguments)}"
    )


def _let_go_of_terminal() -> None:
    """Send what is printed from now on nowhere, if it went to a terminal: that one is closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream.isatty():
                os.dup2(nowhere, stream.fileno())
