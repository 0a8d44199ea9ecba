"""The built-in corpus: which package was this sentence of a docstring written for?

Real language that needs no download: sentences from the docstrings of Python's standard library and of six packages
with free licences. The rows are files of this package (`corpus/`): the same on every machine. This module made them:
sources are read as text, never imported; the packages' names are masked.
"""

from __future__ import annotations

import ast
import json
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from platform import python_version

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).with_name("corpus")
VERSIONS = "versions"  # key of the files' metadata

# class -> (distribution, import name); None: the standard library
PACKAGES: dict[str, tuple[str, str] | None] = {
    "standard library": None,
    "scipy": ("scipy", "scipy"),
    "scikit-learn": ("scikit-learn", "sklearn"),
    "pandas": ("pandas", "pandas"),
    "torch": ("torch", "torch"),
    "transformers": ("transformers", "transformers"),
    "ray": ("ray", "ray"),
}
TRAIN_PER_CLASS = 1072  # 7,504 rows, of which the task keeps a fifth for validation: 6,003 train
TEST_PER_CLASS = 143  # 1,001 rows
# Files are read, in the order of a hash of their path, until a package has this many sentences. More files
# are wider topics, a harder task and a longer wait: tf-idf and logistic regression reach 0.71 with 1,600,
# 0.69 with 2,400, 0.67 with 4,000 (accuracy on validation rows; chance is 0.14).
CANDIDATES_PER_CLASS = 2400
MIN_WORDS, MAX_WORDS = 6, 32  # the mean is 12; a cap of 40 changes the accuracy by less than its error
MAX_FILE_BYTES = 200_000  # larger ones are mostly generated, and slow to parse

# Folders of other people's code or of tests; parts of the standard library that distributions leave out.
SKIPPED_FOLDERS = {
    *("test", "tests", "testing", "_vendor", "vendored_packages", "thirdparty_files", "externals"),
    *("site-packages", "dist-packages", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip"),
}

# The packages' names inside any word (camel case, underscores), and those that are words only by themselves.
INSIDE = r"\w*(?:scipy|scikit|sklearn|pandas|torch|transformers|huggingface|python)\w*"
ALONE = r"pd|hugging[ -]face|hf|ray|rllib|pyc?|(?-i:\w*(?:Ray|H[fF])[A-Z]\w*)"
# ... with all of the dotted path or hyphenated compound that they stand in
MASKED = re.compile(rf"(?<!\w)\.?(?:\w+[.-])*(?:{INSIDE}|{ALONE})(?:[.-]\w+)*(?:\(\))?(?!\w)", re.IGNORECASE)
NEUTRAL = "package"

# Lines that are no prose: doctests, directives, underlines, fields and parameter tables, lists, code.
NOT_PROSE = re.compile(
    r">>>|\.\.|[-=~^*+#]{3,}|[|@\[<{:]|```|[-*+] |\d+[.)] |[\w.*, ]+ ?:(\s|$)|[\w*]+ \(.*\):|[\w.]+\(.*\)$"
)
ROLE = re.compile(r":[\w:+-]+:`~?([^`<]*?)(?: *<[^`]*>)?`")
MARKUP = re.compile(r"\[`?([^\]`]+)`?\](?:\([^)]*\)|_)?|`+_*|\*\*?(?=\w)|(?<=\w)\*\*?")
SENTENCE_END = re.compile(r"(?<=[a-z)'\"][.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z])")
PROSE_ONLY = re.compile(r"[A-Z][A-Za-z0-9 ,.;'\"()/-]+[a-z)'\"][.!?]")


def _paragraphs(docstring: str) -> Iterator[str]:
    """Return runs of prose lines with the same indentation, each joined into one line."""
    lines: list[str] = []
    indent = 0
    for line in [*docstring.splitlines(), ""]:
        text = line.strip()
        prose = bool(text) and not NOT_PROSE.match(text)
        here = len(line) - len(line.lstrip())
        if lines and (not prose or here != indent):
            yield " ".join(lines)
            lines = []
        if prose:
            lines.append(text)
            indent = here


def sentences(docstring: str) -> Iterator[str]:
    """Return a docstring's sentences of plain prose, 6 to 32 words, markup removed and names masked."""
    for paragraph in _paragraphs(docstring):
        plain = MARKUP.sub(lambda found: found[1] or "", ROLE.sub(r"\1", paragraph))
        for sentence in SENTENCE_END.split(plain):
            masked = MASKED.sub(NEUTRAL, " ".join(sentence.split()))
            if MIN_WORDS <= masked.count(" ") + 1 <= MAX_WORDS and PROSE_ONLY.fullmatch(masked):
                yield masked


def docstrings(source: bytes) -> Iterator[str]:
    """Return the docstrings of a module, its classes and functions; none if it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            yield from [text] if text else []
        # statements only: expressions hold no docstrings, and are most of the tree
        nodes += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)][::-1]


def _root(package: tuple[str, str] | None) -> Path:
    if package is None:
        return Path(sysconfig.get_paths()["stdlib"])
    spec = find_spec(package[1])  # of a top-level name: finds, does not import
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package[1]} is not installed")
    return Path(spec.submodule_search_locations[0])


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _files(root: Path) -> list[Path]:
    """Return the package's own modules, in the order of a hash of their path inside it."""
    names = (path.relative_to(root) for path in root.rglob("*.py"))
    own = [name for name in names if not SKIPPED_FOLDERS.intersection(name.parts)]
    return [root / name for name in sorted(own, key=lambda name: _digest(name.as_posix()))]


def _letters(sentence: str) -> str:
    """Return a sentence's letters: sentences with the same letters count as one."""
    return re.sub(r"[^a-z]+", " ", sentence.lower()).strip()


def _candidates(root: Path) -> dict[str, str]:
    """Return distinct sentences of a package by their letters."""
    found: dict[str, str] = {}
    for path in _files(root):
        if path.stat().st_size > MAX_FILE_BYTES:
            continue
        for text in docstrings(path.read_bytes()):
            for sentence in sentences(text):
                found.setdefault(_letters(sentence), sentence)
        if len(found) >= CANDIDATES_PER_CLASS:
            break
    return found


def corpus(roots: dict[str, Path]) -> tuple[pa.Table, pa.Table]:
    """Return the official train and test split, tables of (text, label), from each class's folder of sources.

    A sentence that two classes share is left out; the classes are equally large in either split.
    """
    by_class = {label: _candidates(root) for label, root in roots.items()}
    owners = Counter(letters for found in by_class.values() for letters in found)
    train: list[tuple[str, str]] = []
    test: list[tuple[str, str]] = []
    for label, found in by_class.items():
        own = sorted((text for letters, text in found.items() if owners[letters] == 1), key=_digest)
        test += [(text, label) for text in own[:TEST_PER_CLASS]]
        train += [(text, label) for text in own[TEST_PER_CLASS : TEST_PER_CLASS + TRAIN_PER_CLASS]]
    return _table(train), _table(test)


def _table(rows: Iterable[tuple[str, str]]) -> pa.Table:
    ordered = sorted(rows, key=lambda row: _digest(row[0]))
    return pa.table({"text": [text for text, _ in ordered], "label": [label for _, label in ordered]})


def rows_of(split: str) -> Path:
    """Return the file of the train or test split, as this package ships it."""
    return FOLDER / f"{split}.parquet"


def write_rows(folder: Path = FOLDER) -> None:
    """Write both splits anew from the packages of this machine; `python -m pipeline.task.docstrings` calls it.

    Raises:
        FileNotFoundError: a package is missing.
    """
    tables = corpus({label: _root(package) for label, package in PACKAGES.items()})
    versions = {package[0]: version(package[0]) for package in PACKAGES.values() if package}
    made_of = {VERSIONS: json.dumps(versions | {"python": python_version()}, sort_keys=True)}
    for split, table in zip(("train", "test"), tables, strict=True):
        pq.write_table(
            table.replace_schema_metadata(made_of), folder / f"{split}.parquet", compression="zstd"
        )


if __name__ == "__main__":
    write_rows()
