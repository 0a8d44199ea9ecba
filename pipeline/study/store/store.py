"""The folder of all studies: specs, records, and one table per study that is quick to read.

    ROOT/studies.db, mlflow.db, artifacts/, cache/
    ROOT/studies/NAME/ (study.py)

Every file is written under another name and renamed when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shlex import quote
from typing import Final, final

from pipeline.study.records import StudySpec
from pipeline.study.store.checks import check_place
from pipeline.study.store.location import Location
from pipeline.study.store.objects import place_text
from pipeline.study.store.study import StudyStore

DEFAULT_STORE = Path("mlflow_runs")


def store_option(place: Path) -> str:
    """Return a store's place as the last option of a command that a shell reads; empty for the usual one."""
    return "" if place == DEFAULT_STORE else f" --store {quote(place_text(place))}"


@final
class Store:
    """The folder `root`, as an absolute path. Nothing is created before it is written to.

    For s3://BUCKET/PREFIX `root` is the working copy on this machine, and `place` is s3://BUCKET/PREFIX.
    """

    def __init__(self, place: Path) -> None:
        """Open the store in a folder or at s3://BUCKET/PREFIX; nothing is read or created."""
        self._location: Final = Location.of(place)
        self.root: Final = self._location.root
        self.place: Final = self._location.place
        self.bucket: Final = self._location.bucket
        self.studies_db: Final = self.root / "studies.db"  # Optuna's storage
        self.mlflow_db: Final = self.root / "mlflow.db"  # MLflow's tracking store
        self.artifacts: Final = self.root / "artifacts"  # MLflow's artifacts
        self.cache: Final = self.root / "cache"  # what can be made again: parsed tasks, dense anchors

    def __repr__(self) -> str:
        return f"Store({str(self.place)!r})"

    def check_writable(self) -> str:
        """Try to write into the folder, or into its nearest parent that exists; leave nothing behind.

        Return what the user should know of the place; empty if nothing.

        Raises:
            BadInput: nothing can be written there.
        """
        return check_place(self.root, self.bucket)

    def retrying(self, on_retry: Callable[[str], None]) -> AbstractContextManager[None]:
        """Retry an unreachable bucket for up to two minutes; `on_retry` is called before each retry."""
        return nullcontext() if self.bucket is None else self.bucket.retrying(on_retry)

    def check_reachable(self) -> None:
        """Send one request to the bucket, without retries; a store in a folder is always reachable.

        Raises:
            ObjectStoreLost: the bucket does not answer.
        """
        if self.bucket is not None:
            self.bucket.check_reachable()

    def list_studies(self) -> list[str]:
        """Return the names of the studies that have a spec, sorted."""
        return self._location.list_studies()

    def study(self, name: str, *, search: str | None = None) -> StudyStore:
        """Return the handle of a study, which need not exist.

        Args:
            name: of the study.
            search: which search it began with, for a worker; None: as it is now.

        Raises:
            BadInput: no study can have that name.
        """
        return StudyStore(self._location, name, search)

    def write_spec(self, spec: StudySpec) -> None:
        """Write a study's spec under the name that it contains."""
        self.study(spec.name).write_spec(spec)
