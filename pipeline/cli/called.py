"""How a program is called in the shell that ran this one: hints that are printed work there as they are."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from shlex import quote

NAME = "prunefront"


def called(program: str = NAME) -> str:
    """Return the word by which a program of this environment is called: its name, if the shell finds it there.

    A script that was called by its path, as .venv/bin/prunefront, has the others beside it.
    """
    given = Path(sys.argv[0])
    if given.name != NAME or os.sep not in sys.argv[0]:
        return program
    found = shutil.which(program)
    beside = given.parent / program
    return program if found is not None and Path(found).resolve() == beside.resolve() else quote(str(beside))
