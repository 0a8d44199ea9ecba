"""Commands that run at once, each in a process forked from the test's: what is imported there need not be again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.cli.app import run


def at_once(folder: Path, *commands: list[str]) -> list[tuple[int, str]]:
    """Run commands of ours at once; return the exit code of each, and what it said in one line."""
    files = [folder / f"said-{number}.txt" for number in range(len(commands))]
    begun = [_begin(file, command) for file, command in zip(files, commands, strict=True)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in begun]
    return [(code, " ".join(file.read_text().split())) for code, file in zip(codes, files, strict=True)]


def _begin(file: Path, command: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        with file.open("w") as said:
            sys.stdout = sys.stderr = said
            code = run(command)
    finally:
        os._exit(code)
