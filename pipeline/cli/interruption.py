"""Ctrl-C, SIGTERM and SIGHUP: the first is answered at once and ends the command in order, the second leaves at once.

Spot machines, `kubectl delete`, `scancel`, systemd and `docker stop` send SIGTERM; a terminal that is closed, SIGHUP.
"""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from pipeline.cli.called import called
from pipeline.cli.output import errors

INTERRUPTED = 130  # exit code
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STDERR = 2  # the descriptor
PROMISE = "Everything that was found is kept"


class Signals:
    """Handlers of these signals, from now to the end of the process.

    A signal that is ignored, as SIGHUP is below `nohup`, stays so. The first raises KeyboardInterrupt, the second
    leaves with INTERRUPTED. When the command has ended, a signal leaves with the command's exit code, while libraries
    end what they have begun, too; while the interpreter is taken down, nothing is left to leave. So no signal gives a
    traceback or an exit code of its own.

    Args:
        arguments: of the command, which is printed on leaving: the same one goes on.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._asked = False
        self._code: int | None = None
        # atexit calls the latest first: this comes after what libraries register, and before the interpreter takes
        # handlers away, after which a signal would kill the process
        atexit.register(_ignore_all)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._answer)

    def command_ended(self, code: int) -> None:
        """From now on signals leave at once with the command's exit code: nothing is left to be kept."""
        self._code = code

    def _answer(self, number: int, _: FrameType | None) -> None:
        if self._code is not None:
            os._exit(self._code)
        if self._asked:
            os._exit(interrupted(self._arguments))
        self._asked = True
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        _say(f"{signal.Signals(number).name}: ending in order. {PROMISE}; once more leaves at once.")
        raise KeyboardInterrupt


def _ignore_all() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _say(message: str) -> None:
    """Print from a handler, which may have interrupted another print; the reader may have gone."""
    try:
        errors(message)
    except (Exception, SystemExit):
        with suppress(OSError):
            os.write(STDERR, f"{message}\n".encode())


def interrupted(arguments: Sequence[str]) -> int:
    """Print the end of a command that was interrupted, with the command that goes on; return INTERRUPTED."""
    _say(_goes_on(arguments))
    return INTERRUPTED


def _goes_on(arguments: Sequence[str]) -> str:
    return (
        f"Interrupted. {PROMISE}; the same command goes on from here:\n  {called()} {shlex.join(arguments)}"
    )


def _let_go_of_terminal() -> None:
    """Send what is printed from now on nowhere, if it went to a terminal: that one is closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream.isatty():
                os.dup2(nowhere, stream.fileno())
