"""Signals to the command's process: answered at once, then ended in order; the second one leaves."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CODE = """
import time
from pipeline.cli.interruption import INTERRUPTED, interruptible
with interruptible(["search", "--name", "a b"]):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("ends", flush=True)
        time.sleep({cleaning})
        print("in order", flush=True)
        raise SystemExit(INTERRUPTED)
"""


def started(*, cleaning: float, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
    def signals() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell ignores it in what it runs in the background
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(cleaning=cleaning)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=signals,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_first_is_answered_at_once_and_ends_in_order(number: signal.Signals) -> None:
    process = started(cleaning=0)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "ends\nin order\n")
    assert (
        err
        == f"{number.name}: ending in order. Everything that was found is kept; once more leaves at once.\n"
    )


def test_the_second_leaves_at_once() -> None:
    process = started(cleaning=60)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ends\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "prunefront search --name 'a b'" in err


def test_below_nohup_a_closed_terminal_is_no_matter() -> None:
    process = started(cleaning=0, ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[1].startswith("SIGINT")
    assert process.returncode == 130
