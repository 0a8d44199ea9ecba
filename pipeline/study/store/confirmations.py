"""Points of a front that were trained again on fresh seeds and measured on test rows.

    STUDY/confirm/test.npz                    ids and labels of the test rows
    STUDY/confirm/TTTTT-PP/seed-SS.json       point PP of trial TTTTT on the SS-th fresh seed
    STUDY/confirm/TTTTT-PP/seed-SS-XXXXXXXX.npz  its predictions

A confirmation is complete if its JSON exists: the predictions are written first.
"""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter

from pipeline.study.records import Array, BadInput, Measurement, State
from pipeline.study.store.recordfile import Damaged, read_json, write_and_send, write_json
from pipeline.study.store.validation_rows import read_rows, write_rows

CONFIRM, TEST = "confirm", "test.npz"
NO_PREDICTIONS: Array = np.empty(0, dtype=np.int16)  # of a training that failed


@dataclass(frozen=True, eq=False)
class _Scalars:
    trial: int
    point: int
    number: int  # of the fresh seed, from 0
    seed: int
    state: State
    reason: str
    measurement: Measurement | None
    validation: float | None
    epochs: float
    seconds: float
    provenance: dict[str, str]


@dataclass(frozen=True, eq=False)
class Confirmation(_Scalars):
    """One point of a front, trained again on a fresh seed.

    `measurement` is on the test rows, `validation` the metric on the validation rows; both are missing if training
    failed, and `reason` says why. `predictions` [V] are for the test rows, in their order.
    """

    predictions: Array


@dataclass(frozen=True, eq=False)
class _Stored(_Scalars):
    """The content of a JSON file."""

    arrays: str = ""  # the name of the file of the predictions; empty: as the JSON's, of earlier versions


_STORED = TypeAdapter(_Stored)


@dataclass(frozen=True)
class Confirmations:
    """The confirmations of one study, in `folder`, which need not exist."""

    folder: Path

    def write_test(self, ids: list[str], labels: Array) -> None:
        """Write the ids and labels [V] of the test rows.

        Raises:
            BadInput: earlier confirmations were measured on other rows.
        """
        path = self.folder / TEST
        if path.is_file():
            known, of_known = self.read_test()
            if known != ids or not np.array_equal(of_known, labels):
                raise BadInput(
                    f"The confirmations in {self.folder} were measured on {len(known)} test rows; the "
                    f"task has {len(ids)} now, or others. Put the test file back as it was, or remove "
                    f"{self.folder} to confirm anew."
                )
            return
        write_rows(path, ids, labels)

    def read_test(self) -> tuple[list[str], Array]:
        """Return the ids and labels [V] of the test rows.

        Raises:
            OSError: nothing has been confirmed yet.
        """
        return read_rows(self.folder / TEST)

    def write(self, found: Confirmation) -> None:
        """Write a confirmation, replacing an earlier one."""
        path = self._path(found.trial, found.point, found.number)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, predictions=found.predictions)
        arrays = f"{path.stem}-{secrets.token_hex(4)}.npz"  # of two that confirm at once, none replaces the other's
        write_and_send(path.with_name(arrays), buffer.getvalue())
        scalars = {name: value for name, value in vars(found).items() if name != "predictions"}
        write_json(path, _Stored(**scalars, arrays=arrays))

    def has(self, trial: int, point: int, number: int) -> bool:
        """Return whether a point is confirmed on a seed."""
        return self._path(trial, point, number).is_file()

    def read(self) -> list[Confirmation]:
        """Return all confirmations, sorted by trial, point and seed.

        Raises:
            BadInput: a file is damaged.
        """
        return [self._read(path) for path in sorted(self.folder.glob("*/seed-*.json"))]

    def _read(self, path: Path) -> Confirmation:
        stored = read_json(path, _STORED)
        scalars = {name: value for name, value in vars(stored).items() if name != "arrays"}
        file = path.with_name(Path(stored.arrays).name) if stored.arrays else path.with_suffix(".npz")
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return Confirmation(**scalars, predictions=arrays["predictions"])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise Damaged(
                f"A store's files are whole; {file} is damaged: {error}. Remove {path}: the same `confirm` makes both "
                "again."
            ) from error

    def _path(self, trial: int, point: int, number: int) -> Path:
        return self.folder / f"{trial:05d}-{point:02d}" / f"seed-{number:02d}.json"
