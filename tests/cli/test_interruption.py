"""Signals to the command's process: answered at once, then ended in order; the second one leaves."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CODE = """
import time
from pipeline.cli.interruption import INTERRUPTED, Signals
Signals(["search", "--name", "a b"])
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("ends", flush=True)
    time.sleep({cleaning})
    print("in order", flush=True)
    raise SystemExit(INTERRUPTED)
"""
# `main` with a command that runs `act`
COMMAND = """
import atexit, os, signal, sys, time
import typer
from pipeline.cli import app

program = typer.Typer()

@program.command()
def command() -> None:
    act()

app.app = program
"""
# Interrupted by itself, in a process with a last step of a library's, and with an object that is removed last.
LAST_STEPS = (
    COMMAND
    + """
def act():
    atexit.register(wait, "atexit")
    if sys.argv[2] == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

def wait(where, when=sys.argv[1], write=os.write, sleep=time.sleep):
    if where == when:
        write(1, b"ready\\n")
        sleep(0.5)

class Last:
    def __del__(self, wait=wait):
        wait("interpreter")

last = Last()
app.main([])
"""
)
# For every instruction of `main`, and every line of what it calls of ours, after a first signal: a process that gets
# a second signal there. Prints how each ended.
EVERYWHERE = (
    COMMAND
    + """
from itertools import count

PLACES = {app.__file__, sys.modules["pipeline.cli.interruption"].__file__}
seen = 0

def act():
    frame = sys._getframe()
    while frame := frame.f_back:  # a tracer is otherwise asked in frames that begin after it is set
        frame.f_trace = trace(frame, "call", None)
    sys.settrace(trace)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

def trace(frame, event, _):
    global seen
    if frame.f_code.co_filename not in PLACES:
        return None
    frame.f_trace_opcodes = frame.f_code.co_name == "main"
    if event in ("line", "opcode"):
        seen += 1
        if seen == place:
            os.kill(os.getpid(), signal.SIGINT)
    return trace

app.errors("")  # what is imported for it is imported once
for place in count(1):
    child = os.fork()
    if not child:
        code = "not left"
        try:
            app.main([])
        except BaseException as left:
            code = left.code if isinstance(left, SystemExit) else repr(left)
        sys.settrace(None)
        os._exit(200 if seen < place else code if isinstance(code, int) else 201)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 200:
        break
    print(code, flush=True)
"""
)


def started(*, cleaning: float, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
    return ready(CODE.format(cleaning=cleaning), ignored=ignored)


def ready(code: str, *arguments: str, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
    def signals() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell ignores it in what it runs in the background
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
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
    out, err = process.communicate(timeout=60)
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
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "prunefront search --name 'a b'" in err


def test_below_nohup_a_closed_terminal_is_no_matter() -> None:
    process = started(cleaning=0, ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].startswith("SIGINT")
    assert process.returncode == 130


def test_it_ends_in_order_when_its_messages_have_lost_their_reader() -> None:
    """`prunefront search 2>&1 | tee log`: Ctrl-C ends `tee`, too."""
    process = started(cleaning=0)
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_second_one_anywhere_gives_no_other_exit_code() -> None:
    """At every instruction between the first signal and the end of the command."""
    process = subprocess.run(
        [sys.executable, "-c", EVERYWHERE],
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        check=True,
    )
    codes = process.stdout.split()
    assert len(codes) > 30, process.stderr
    assert set(codes) == {"130"}
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("ended", "code", "number"), [("interrupted", 130, signal.SIGINT), ("done", 0, signal.SIGTERM)]
)
@pytest.mark.parametrize("where", ["atexit", "interpreter"])
def test_one_after_the_end_leaves_with_the_exit_code_of_the_command(
    where: str, ended: str, code: int, number: signal.Signals
) -> None:
    process = ready(LAST_STEPS, where, ended)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert err.count("Interrupted. Everything that was found is kept") == (ended == "interrupted")
