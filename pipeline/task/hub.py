"""A data set of the Hugging Face hub, or a folder laid out like one: its rows, and columns by their usual names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.whole_file import write_new
from pipeline.task.datafile import Columns, find_columns
from pipeline.task.declared import named_lists
from pipeline.task.imagefiles import texts_of
from pipeline.task.readers import require_columns
from pipeline.task.rows import assemble, columns_of, fingerprint, label_of, write_table
from pipeline.task.spelling import as_strings
from pipeline.task.usual import Usual

HUB_BATCH_ROWS = 10_000
NO_CLASS = -1  # the hub's mark for a row without a label


@dataclass(frozen=True)
class HubSource:
    """One split of a hub data set, or of a local folder laid out like one.

    `splits`: the first of them that is there and has labelled rows is read, and no other is opened
    before it. `row_number` names a column that numbers the rows; without one they are numbered from 1.
    """

    path: str
    config: str | None
    splits: tuple[str, ...]
    text: tuple[str, ...]
    label: str | tuple[str, ...] | None
    cache: Path
    row_number: str | None = None
    nested: bool = False

    is_here: ClassVar[bool] = False  # to look at it would fetch it

    way_out: ClassVar[str] = (
        "Check its name, its configuration (hf:NAME@CONFIG), its columns (--text, --label) and the network; "
        "or download its files and describe them by a task file."
    )

    def __str__(self) -> str:
        return f"{self.path}{'@' + self.config if self.config else ''} ({' or '.join(self.splits)})"

    def read(self, part: str) -> pa.Table:
        """Read the split's labelled rows; their ids begin with `part`.

        What came from the hub once is kept in `cache` and read from there: a study's rows stay the same.
        A local folder is read anew each time.

        Raises:
            OSError, ValueError, pyarrow.ArrowException: if the data set, its configuration, a split or a
                column is not there, or the hub cannot be reached.
        """
        if Path(self.path).is_dir():
            return self._fetch(part)
        settings = [self.path, self.config, self.splits, self.text, self.label, self.row_number, part]
        settings += ["nested"] * self.nested
        kept = self.cache / f"hub-{fingerprint(settings)[:16]}.arrow"
        if not kept.is_file():
            write_table(kept, self._fetch(part))
        with kept.open("rb") as file:
            return pa.ipc.open_file(file).read_all()

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read the split's labelled rows, as `read`; there are no remarks."""
        return self.read(part), ()

    def columns(self) -> list[str]:
        """Return the columns of the first of its splits that is there; one row is read where nothing declares them.

        Raises:
            OSError: the data set or its configuration is not there, has none of the splits, or cannot be reached.
        """
        _, streams = self._streams()
        with _library_errors():
            _, stream = next(streams)
            return list(stream.features or next(stream.iter(batch_size=1)).column_names)

    def _streams(self) -> tuple[list[str], Iterator[tuple[str, Any]]]:
        """Return the names of the splits that are there, and those of `splits`, each as a stream, opened in turn."""
        from datasets import load_dataset_builder

        with _library_errors():
            builder = load_dataset_builder(self.path, self.config)
        files = builder.config.data_files
        there = list(files or builder.info.splits or ())

        def opened() -> Iterator[tuple[str, Any]]:
            for split in (split for split in self.splits if split in there):
                # Streamed, because load_dataset would prepare all splits, test rows among them; and with no
                # other file in sight, because builders look for column types in the first one they see.
                builder.config.data_files = {split: files[split]} if files else files
                with _library_errors():
                    yield split, builder.as_streaming_dataset(split=split).with_format("arrow")

        return there, opened()

    def _fetch(self, part: str) -> pa.Table:
        there, streams = self._streams()
        for _, stream in streams:
            with _library_errors():
                table = pa.concat_tables(stream.iter(batch_size=HUB_BATCH_ROWS))
            rows = self._labelled(table, stream.features or {}, part)
            if rows.num_rows:
                return rows
        raise ValueError(
            f"it has no labelled rows in {' or '.join(self.splits)}; its splits are {', '.join(there)}"
        )

    def _labelled(self, table: pa.Table, features: Mapping[str, object], part: str) -> pa.Table:
        from datasets import ClassLabel, Image

        require_columns(columns_of(self.text, self.label), table.column_names)
        for name in self.text:
            if isinstance(features.get(name), Image):
                images = pa.array(texts_of(table[name], Path(self.path)), pa.string())
                table = table.set_column(table.column_names.index(name), name, images)
        numbers = table[self.row_number].to_pylist() if self.row_number else range(1, table.num_rows + 1)
        ids = [f"{part}-{number}" for number in numbers]
        if self.label is None:
            return assemble(ids, [table[name] for name in self.text], None, nested=self.nested)
        if not isinstance(self.label, str):
            strings = {name: as_strings(table[name], name) for name in self.label}
            label = label_of(pa.table(strings), self.label)
            return assemble(ids, [table[name] for name in self.text], label, nested=self.nested)
        label, declared = table[self.label].combine_chunks(), features.get(self.label)
        names = getattr(getattr(declared, "feature", None), "names", None)  # of a list of classes
        if self.nested and names:
            label = named_lists(pa.chunked_array([label]), list(names))
        if isinstance(declared, ClassLabel):
            codes = pc.if_else(pc.equal(label, NO_CLASS), None, label).cast(pa.int32())
            label = pa.DictionaryArray.from_arrays(codes, pa.array(declared.names))
        rows = assemble(ids, [table[name] for name in self.text], label, nested=self.nested)
        if isinstance(declared, ClassLabel):
            return rows.filter(pc.is_valid(rows["label"]))
        hidden = {None, str(NO_CLASS)}  # every row of a split whose labels are hidden
        return rows.slice(0, 0) if {*pc.unique(rows["label"]).to_pylist()} <= hidden else rows


@contextmanager
def _library_errors() -> Iterator[None]:
    """Raise errors of the hub's libraries as OSError: what is below them (httpx, fsspec) has kinds of its own."""
    try:
        yield
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


def look_into_hub(
    source: HubSource,
    *,
    text: tuple[str, ...],
    label: str | tuple[str, ...] | None,
    labelled: bool,
    usual: Usual,
) -> Columns:
    """Return the columns of a data set's training rows that are used; arguments as of `datafile.look_into`.

    What came from the hub once is kept in the source's cache. A data set that cannot be reached has the first usual
    names, as tasks had that were read before columns were found: reading its rows says what is wrong.

    Raises:
        BadInput: a column is missing, or cannot be distinguished from others.
    """
    kept = source.cache / f"hub-columns-{fingerprint([source.path, source.config])[:16]}.json"
    local = Path(source.path).is_dir()
    if not local and kept.is_file():
        there = json.loads(kept.read_text())
    else:
        try:
            there = source.columns()
        except OSError:
            first = usual.texts[:1] or usual.pairs[0]
            return Columns(text or first, label or (usual.labels[0] if labelled else None), ())
        if not local:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_new(kept, json.dumps(there).encode())
    name = f"{source.path}{'@' + source.config if source.config else ''}"
    return find_columns(name, there, text=text, label=label, labelled=labelled, usual=usual)
