"""Where a store is: a folder of this machine, or a prefix of a bucket with a working copy on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.study.records import BadInput
from pipeline.study.store.checks import NAME
from pipeline.study.store.links import check_links
from pipeline.study.store.objects import Bucket, is_light, is_object_store, open_bucket

STUDIES, SPEC = "studies", "spec.json"


@dataclass(eq=False)
class Location:
    """The folder `root`, as an absolute path, and the bucket of which it is the working copy, if any.

    `place` is the location as it was given: the root of a folder, s3://BUCKET/PREFIX of a bucket.
    """

    root: Path
    place: Path
    bucket: Bucket | None
    _seen: set[Path] = field(default_factory=set, init=False, repr=False)

    @classmethod
    def of(cls, place: Path) -> Location:
        """Return the location of a place; create nothing."""
        if is_object_store(place):
            bucket = open_bucket(place)
            return cls(bucket.copy, place, bucket)
        try:
            root = Path(place).expanduser().resolve()
        except RuntimeError as error:  # ~ of a user who does not exist
            raise BadInput(f"{place} names a user who does not exist. A store is a folder.") from error
        return cls(root, root, None)

    @property
    def studies(self) -> Path:
        """The folder of all studies."""
        return self.root / STUDIES

    def refresh(self, folder: Path) -> None:
        """Fetch what other machines have written below a folder; without a bucket there is nothing to fetch."""
        if self.bucket is not None:
            self.bucket.fetch(folder, where=is_light)

    def see(self, folder: Path) -> None:
        """Refresh a folder of studies and check its links, unless this object has done so before.

        Raises:
            BadInput: a symbolic link leads out of the store.
        """
        if {folder, self.studies} & self._seen:
            return
        if self.bucket is None:
            check_links(self.root, folder)
        else:
            self.refresh(folder)
        self._seen.add(folder)

    def list_studies(self) -> list[str]:
        """Return the names of the studies that have a spec, sorted."""
        self.see(self.studies)
        names = (path.parent.name for path in self.studies.glob(f"*/{SPEC}") if path.is_file())
        return sorted(name for name in names if NAME.fullmatch(name))
