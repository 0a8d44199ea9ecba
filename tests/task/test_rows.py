"""Local files in every format, and the hub: a folder laid out like one, and a server that speaks its protocol."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Value

from pipeline.task.hub import HubSource
from pipeline.task.rows import FileSource, fingerprint

TEXT, LABEL = ("sentence",), "label"
GARBAGE = b"test rows that nobody may open"


def read(path: Path, content: str | bytes, delimiter: str | None = None) -> dict[str, list[object]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return FileSource(path, TEXT, LABEL, delimiter).read("train").to_pydict()


# ---- files


def test_tsv_has_no_quoting(tmp_path: Path) -> None:
    content = 'sentence\tlabel\n"begins\t1\nends"\t0\n"both"\t1\na ""b"" c\t0\n'
    assert read(tmp_path / "t.tsv", content) == {
        "id": ["train-1", "train-2", "train-3", "train-4"],
        "text_a": ['"begins', 'ends"', '"both"', 'a ""b"" c'],
        "label": ["1", "0", "1", "0"],
    }


def test_csv_has_quoting(tmp_path: Path) -> None:
    content = 'label,sentence,other\n1,"a, ""b""\nc",2020-01-01\n0,d,x\n'
    found = read(tmp_path / "t.csv", content)
    assert (found["text_a"], found["label"]) == (['a, "b"\nc', "d"], ["1", "0"])


def test_a_delimiter_of_ones_own(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "sentence;label\na,b;1\n", ";")["text_a"] == ["a,b"]


def test_words_that_look_like_other_types_stay_words(tmp_path: Path) -> None:
    texts = ["NA", "null", "007", "1e5", "true", "2020-01-01", ""]
    content = "sentence\tlabel\n" + "".join(f"{text}\t{text}\n" for text in texts)
    found = read(tmp_path / "t.tsv", content)
    assert found["text_a"] == found["label"] == texts


def test_a_row_longer_than_a_reader_block(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", f"sentence\tlabel\n{'x' * 3_000_000}\t1\n")["label"] == ["1"]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", b"\xef\xbb\xbfsentence\tlabel\na\t1\n")["text_a"] == ["a"]


def test_jsonl(tmp_path: Path) -> None:
    content = '{"sentence": "2020-01-01", "label": 3, "x": [1]}\n\n{"label": -1, "sentence": "b"}\n'
    found = read(tmp_path / "t.jsonl", content)
    assert found == {"id": ["train-1", "train-2"], "text_a": ["2020-01-01", "b"], "label": ["3", "-1"]}


def test_jsonl_rows_may_lack_a_key(tmp_path: Path) -> None:
    found = read(tmp_path / "t.jsonl", '{"sentence": "a", "label": true}\n{"sentence": "b"}\n')
    assert found["label"] == ["true", None]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([1, 0], pa.int8()), ["1", "0"]),
        (pa.array([1.0, None], pa.float64()), ["1", None]),  # what pandas makes of integers with a gap
        (pa.array([0.5, 1.0], pa.float64()), ["0.5", "1"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
        (pa.array(["b", "a"], pa.large_string()), ["b", "a"]),
    ],
)
def test_parquet(labels: pa.Array, expected: list[str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": labels, "sentence": ["x", "y"]}), tmp_path / "t.parquet")
    table = FileSource(tmp_path / "t.parquet", TEXT, LABEL).read("test")
    assert table["label"].type == pa.string()
    assert table.to_pydict() == {"id": ["test-1", "test-2"], "text_a": ["x", "y"], "label": expected}


def test_pairs(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("b\ta\ty\nB\tA\t1\n")
    table = FileSource(tmp_path / "t.tsv", ("a", "b"), "y").read("train")
    assert table.to_pydict() == {"id": ["train-1"], "text_a": ["A"], "text_b": ["B"], "label": ["1"]}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_missing_column_is_named_with_those_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"text": ["x"], "label": [1]}), path)
    else:
        delimiter = "\t" if suffix == "tsv" else ","
        path.write_text(
            '{"text": "x", "label": 1}' if suffix == "jsonl" else f"text{delimiter}label\nx{delimiter}1\n"
        )
    with pytest.raises(ValueError, match="no column 'sentence'; its columns are 'text', 'label'"):
        FileSource(path, TEXT, LABEL).read("train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.tsv", "sentence\tlabel\na\t1\tb\n", "Expected 2 columns, got 3"),
        ("t.csv", "sentence,sentence,label\na,b,1\n", "more than one column 'sentence'"),
        ("t.csv", b"sentence,label\n\xff\xfe,1\n", "line 2 has the byte 0xff, as files in latin-1"),
        ("t.csv", "", "Empty CSV file"),
        ("t.jsonl", '{"sentence": "a", "label": 1}\n{"sentence"\n', "line 2 is not JSON"),
        ("t.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("t.parquet", "PAR", "Parquet"),
        ("t.xlsx", "x", "suffix '.xlsx' is none of .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, pa.ArrowException), match=message):
        read(tmp_path / name, content)


@pytest.mark.parametrize("name", ["t.tsv", "t.jsonl"])
def test_a_file_without_rows_has_none(name: str, tmp_path: Path) -> None:
    assert read(tmp_path / name, "sentence\tlabel\n" if name == "t.tsv" else "")["id"] == []


def test_a_fingerprint_sees_every_cell() -> None:
    table = pa.table({"id": ["1", "2"], "label": [0, 1]})
    others = [
        pa.table({"id": ["1", "2"], "label": [1, 0]}),
        pa.table({"id": ["12", ""], "label": [0, 1]}),
        pa.table({"ID": ["1", "2"], "label": [0, 1]}),
        table.slice(0, 1),
    ]
    prints = [
        fingerprint(["x"], *tables) for tables in ([table], *([other] for other in others), [table, table])
    ]
    assert len({*prints, fingerprint(["y"], table)}) == 7
    assert (
        fingerprint(["x"], pa.concat_tables([table.slice(0, 1), table.slice(1)])) == prints[0]
    )  # chunks do not count


# ---- the hub


def lay_out(folder: Path, rows: int = 40) -> None:
    """A data set as the hub has it, with two configurations; test and validation cannot be read."""
    features = Features(
        {"sentence": Value("string"), "label": ClassLabel(names=["no", "yes"]), "idx": Value("int32")}
    )
    numbers = list(range(rows))
    columns = {
        "sentence": [f"sentence {number}" for number in numbers],
        "label": [-1 if number % 10 == 9 else number % 2 for number in numbers],
        "idx": [number + 100 for number in numbers],
    }
    table = (
        pa.table(columns).cast(features.arrow_schema).replace_schema_metadata(features.arrow_schema.metadata)
    )
    readme = ["---", "configs:"]
    for config in ("one", "two"):
        (folder / config).mkdir(parents=True)
        pq.write_table(table, folder / config / "train-00000-of-00001.parquet")
        readme += [f"- config_name: {config}", "  data_files:"]
        for split in (
            "test",
            "train",
            "validation",
        ):  # test comes first: it must not be opened for its columns
            readme += [f"  - split: {split}", f"    path: {config}/{split}-*"]
        for split in ("test", "validation"):
            (folder / config / f"{split}-00000-of-00001.parquet").write_bytes(GARBAGE)
    (folder / "README.md").write_text("\n".join([*readme, "---", ""]))


def source(folder: Path | str, cache: Path, *splits: str, row_number: str | None = None) -> HubSource:
    return HubSource(str(folder), "one", splits or ("train",), TEXT, LABEL, cache, row_number)


def test_a_folder_laid_out_like_a_hub_data_set(tmp_path: Path) -> None:
    lay_out(tmp_path)
    rows = source(tmp_path, tmp_path / "cache").read("train")
    assert rows.num_rows == 36  # rows without a gold label (-1) are left out, the others keep their numbers
    assert rows["id"].to_pylist()[8:10] == ["train-9", "train-11"]
    assert rows["text_a"].to_pylist()[:2] == ["sentence 0", "sentence 1"]
    assert rows["label"].to_pylist()[:3] == ["no", "yes", "no"]
    assert rows["label"].combine_chunks().dictionary.to_pylist() == ["no", "yes"]
    assert not (tmp_path / "cache").exists()  # a folder is read anew each time
    assert source(tmp_path, tmp_path, row_number="idx").read("train")["id"][0].as_py() == "train-100"


def test_only_the_requested_split_is_opened(tmp_path: Path) -> None:
    lay_out(tmp_path)
    source(tmp_path, tmp_path).read("train")
    for split in ("test", "validation"):
        with pytest.raises(OSError, match="Parquet"):
            source(tmp_path, tmp_path, split).read("test")


def test_the_first_split_with_labels_is_read(tmp_path: Path) -> None:
    lay_out(tmp_path)
    hidden = pq.read_table(tmp_path / "one" / "train-00000-of-00001.parquet").slice(9, 1)
    pq.write_table(hidden, tmp_path / "one" / "test-00000-of-00001.parquet")
    assert source(tmp_path, tmp_path, "nowhere", "test", "train").read("test").num_rows == 36
    with pytest.raises(
        ValueError, match="no labelled rows in dev or test; its splits are test, train, validation"
    ):
        source(tmp_path, tmp_path, "dev", "test").read("test")


def test_a_column_or_configuration_that_is_not_there(tmp_path: Path) -> None:
    lay_out(tmp_path)
    with pytest.raises(ValueError, match="no column 'text'; its columns are 'sentence', 'label', 'idx'"):
        HubSource(str(tmp_path), "one", ("train",), ("text",), LABEL, tmp_path).read("train")
    with pytest.raises(OSError, match=r"three.*one.*two"):
        HubSource(str(tmp_path), "three", ("train",), TEXT, LABEL, tmp_path).read("train")


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Couldn't reach 'owner/name'"):  # conftest: HF_HUB_OFFLINE
        source("owner/name", tmp_path).read("train")
    assert not list(tmp_path.iterdir())


class Hub(BaseHTTPRequestHandler):
    """The hub's protocol, as far as reading a public data set goes, for the folder `root`."""

    root: Path
    asked: list[str]
    commit = "c" * 40

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        api, files = "/api/datasets/owner/name/", f"/datasets/owner/name/resolve/{self.commit}/"
        path = path.replace("/resolve/main/", f"/resolve/{self.commit}/")
        if path.startswith(f"{api}revision/"):
            self.answer(json.dumps({"id": "owner/name", "sha": self.commit, "siblings": []}).encode())
        elif path.startswith(f"{api}tree/{self.commit}"):
            folder = self.root / path.removeprefix(f"{api}tree/{self.commit}").strip("/")
            self.answer(json.dumps([self.entry(entry) for entry in sorted(folder.iterdir())]).encode())
        elif path.startswith(files) and (self.root / path.removeprefix(files)).is_file():
            if self.command == "GET":
                self.asked.append(path.removeprefix(files))
            self.answer((self.root / path.removeprefix(files)).read_bytes())
        else:
            self.answer(b"", 404)

    def entry(self, path: Path) -> dict[str, object]:
        name = path.relative_to(self.root).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": "d" * 40}
        return {"type": "file", "path": name, "oid": "f" * 40, "size": path.stat().st_size}

    def answer(self, body: bytes, status: int = 200) -> None:
        etag = sha1(body).hexdigest()
        if status == 200 and self.headers["Range"]:
            first, last = (int(end) for end in self.headers["Range"].removeprefix("bytes=").split("-"))
            total, body, status = len(body), body[first : last + 1], 206
            span = f"bytes {first}-{first + len(body) - 1}/{total}"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{etag}"')
        if status == 206:
            self.send_header("Content-Range", span)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub on this machine with the data set owner/name: its address, and the files that it was asked for."""
    lay_out(tmp_path / "hub")
    asked: list[str] = []
    handler = type("ThisHub", (Hub,), {"root": tmp_path / "hub", "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_from_the_hub_once_and_train_alone(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    """In a process of its own: the hub's address and the offline switch are read at import."""
    address, asked = hub
    code = (
        "from pathlib import Path; from pipeline.task.hub import HubSource\n"
        f"cache = Path({str(tmp_path / 'cache')!r})\n"
        "rows = HubSource('owner/name', 'one', ('train',), ('sentence',), 'label', cache).read('train')\n"
        "print(rows.num_rows, rows['id'][8], rows['label'].combine_chunks().dictionary.to_pylist(), flush=True)\n"
        "import os; os._exit(0)"  # a thread of the streaming reader sometimes outlives the interpreter, and aborts it
    )
    environment = {"PATH": "", "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": address}
    for offline in ("0", "1"):
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**environment, "HF_HUB_OFFLINE": offline},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stdout == "36 train-9 ['no', 'yes']\n", ran.stderr
    assert set(asked) == {"README.md", "one/train-00000-of-00001.parquet"}
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".arrow"]
