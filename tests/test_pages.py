"""README and docs: the reference is what the tables give, commands run and print what is shown, links lead somewhere."""

import re
from pathlib import Path

import pytest

from autoprox.report.reference import pages
from tests.pages import BLOCK, ROOT, Session, commands, differs, page_files, read_only

FILES = [*page_files(), *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))]


def test_the_reference_is_what_the_tables_give():
    folder = ROOT / "docs" / "reference"
    made = pages()
    assert {path.name for path in folder.iterdir()} == set(made)
    for name, text in made.items():
        assert (folder / name).read_text(encoding="utf-8") == text, f"{name} is not up to date: make docs"


def test_pages_run_and_print_what_they_show(tmp_path):
    session = Session(tmp_path, long=False)
    for path in page_files():
        session.run_page(path)
    assert not session.problems, "\n".join([*session.problems, "if the pages are wrong, not the program: make docs"])


@pytest.mark.parametrize("path", page_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_command_hides_in_a_block_that_is_not_run(path):
    for block in BLOCK.finditer(path.read_text(encoding="utf-8")):
        if block["language"] not in ("sh", "console"):
            assert not re.search(r"^(\$ )?(autoprox|make) ", block["body"], re.MULTILINE), block["body"]


def slugs(path: Path) -> set[str]:
    """The anchors of the headings of a page."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        bare = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(f"{bare}-{found[bare]}" if bare in found else bare)
        found[bare] = found.get(bare, 0) + 1
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    targets = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|srcset|href)="([^"]+)"', text)]
    for target in targets:
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), target


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["τ .696 [.614, .762]"], ["τ .697  [.614, .762]"], True),
        (["τ .696"], ["τ .596"], False),
        (["time 0:31"], ["time 1:00:12"], True),
        (["fc1 24"], ["fc2 24"], False),
        (["first", "..."], ["first", "second", "third"], True),
        (["first"], ["first", "second"], False),
    ],
)
def test_outputs_are_compared_but_for_times_and_roundings(shown, printed, same):
    assert (differs(shown, printed) == "") is same


def test_commands_of_a_block():
    body = "$ autoprox rank --proxy snip \\\n    --bench nano\nτ\n$ ls\n"
    assert list(commands(body)) == [("autoprox rank --proxy snip \\\n    --bench nano", ["τ"]), ("ls", [])]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("autoprox bench build --space pit-nano --dataset digits shapes", ""),
        ("autoprox discover --evaluation 3", "No such option: --evaluation"),
        ("autoprox --version", ""),
        ("make truth", ""),
        ("make nothing", "no rule nothing"),
    ],
)
def test_commands_that_are_only_read(command, problem):
    assert read_only(command) == problem
