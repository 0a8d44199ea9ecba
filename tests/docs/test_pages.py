"""Pages agree with the program: options, files, links, rooms, the page of commands."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.main import get_command

import prunefront
from docs.generate import PAGE, page
from pipeline.cli.app import _with_lists, app
from pipeline.study.space import load_space
from pipeline.task.taskfile import TaskFile
from tests.kit.documents import ROOT, SHELL, Block, all_blocks, blocks, pages

COMMANDS = [
    (block, words)
    for block in all_blocks(*SHELL)
    for words in block.commands()
    if words[0] == "prunefront" and "--help" not in words
]
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def test_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_blocks_have_a_known_language() -> None:
    known = {*SHELL, "python", "toml", "text", "bibtex"}
    assert {b.place for page in pages() for b in blocks(page) if b.language not in known} == set()


@pytest.mark.parametrize(("block", "words"), COMMANDS, ids=[f"{b.place}-{w[1]}" for b, w in COMMANDS])
def test_every_command_has_these_options(block: Block, words: list[str]) -> None:
    command = get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    command.make_context(words[1], _with_lists(words[1:])[1:])


@pytest.mark.parametrize("block", all_blocks(*SHELL), ids=lambda block: block.place)
def test_make_targets_and_modules_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for words in block.commands():
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets
        elif words[:2] == ["python", "-m"]:
            assert find_spec(words[2]) is not None


@pytest.mark.parametrize("block", all_blocks("toml"), ids=lambda block: block.place)
def test_toml_is_a_task_a_space_or_a_package(block: Block, tmp_path: Path) -> None:
    found = tomllib.loads(block.text)
    if "files" in found:
        TaskFile.model_validate(found)
    elif "project" in found or "tool" in found:
        assert "prunefront.methods" in found["project"]["entry-points"]
    else:
        file = tmp_path / "space.toml"
        file.write_text(block.text)
        assert found.keys() <= load_space("snip", file=file, pretrained=True).keys.keys()


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target, anchor in LINK.findall(text):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), target
        if anchor:
            assert anchor in headings(file), f"{target}#{anchor}"


def headings(path: Path) -> set[str]:
    """Anchors as GitHub and mkdocs both make them, of headings with plain letters."""
    lines = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


def test_the_page_of_commands_is_the_programs() -> None:
    assert PAGE.read_text() == page(), "run `make docs`, and commit docs/reference/cli.md"


def test_architecture_lists_every_room_of_every_wing() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for wing in sorted(
        path for path in (ROOT / "pipeline").iterdir() if path.is_dir() and path.name[0] != "_"
    ):
        section = re.search(rf"^### {wing.name}\n(.*?)^##", text, flags=re.DOTALL | re.MULTILINE)
        assert section is not None, wing.name
        listed = re.findall(r"^- `([\w./]+)`: \S", section[1], flags=re.MULTILINE)
        there = [
            f"{path.name}/" if path.is_dir() else path.name
            for path in sorted(wing.iterdir())
            if path.name[0] != "_" and (path.is_dir() or path.suffix == ".py")
        ]
        assert listed == there, wing.name


def test_readme_has_the_nine_wings() -> None:
    listed = re.findall(r"^\| `pipeline/(\w+)` \| \S", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    wings = {path.name for path in (ROOT / "pipeline").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert set(listed) == wings
    assert len(listed) == len(wings) == 9


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(there)


def test_the_page_of_python_has_every_public_name_once() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)) == sorted(prunefront.__all__)
    assert sorted(re.findall(r"heading: prunefront\.(\w+)$", text, flags=re.MULTILINE)) == sorted(
        prunefront.__all__
    )
