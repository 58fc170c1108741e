"""The documentation: links lead somewhere, commands exist, tables and pictures are what their records give."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import typer

import mixer
from mixer.cli.main import app
from mixer.plan.forecast import _SEGMENT_BYTES, _SEQUENCE_BYTES

REPOSITORY = Path(__file__).parents[1]
BENCHMARKS = REPOSITORY / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import picture  # noqa: E402
import render  # noqa: E402

README = (REPOSITORY / "README.md").read_text()
PAGES = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "examples").rglob("*.md")),
    REPOSITORY / "benchmarks" / "README.md",
]
DECISIONS = sorted((REPOSITORY / "docs" / "decisions").glob("[0-9]*.md"))
pytestmark = pytest.mark.quick
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


def outside_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", outside_fences(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> list[list[str]]:
    """The words of each `mixer ...` line inside fences, continued lines joined, comments left out."""
    fences = re.findall(r"^```(?:console|bash|sh)?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for fence in fences for line in fence.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if re.match(r"(\.venv/bin/)?mixer [a-z-]", line)]


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Of the repository; what another page is called is noticed when it moves."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_fences(page.read_text())):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://", "mailto:")):
            continue
        found = page.parent / path if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@each_page
def test_commands_have_the_verbs_and_options_that_there_are(page: Path) -> None:
    """In all fences."""
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for words in commands(page.read_text()):
        verb = words[1]
        if verb.startswith("-"):
            continue
        assert verb in verbs, words
        known = {name for parameter in verbs[verb].params for name in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
        assert used <= known | {"-h", "--help"}, words


def test_the_readme_is_short_and_its_two_commands_are_near_the_top() -> None:
    """A newcomer sees what it is, how to see it, and how to install it on the first screens."""
    lines = README.splitlines()
    assert len(lines) <= 130
    demo, test = lines.index(next(line for line in lines if line.startswith("make demo "))), README.index("make test ")
    assert demo <= 15
    assert demo < README[:test].count("\n") + 1 <= 15
    assert lines.index("## Install") <= 30


def test_the_pages_are_in_the_index() -> None:
    """Each page of docs/ has a line."""
    index = (REPOSITORY / "docs" / "README.md").read_text()
    assert [page.name for page in (REPOSITORY / "docs").glob("[a-z]*.md") if f"({page.name})" not in index] == []


def test_the_picture_is_what_the_script_draws() -> None:
    """From the kept record; a pure function of it."""
    record = json.loads(picture.RECORD.read_text())
    assert picture.PICTURE.read_text() == picture.picture(record)


def test_the_picture_has_a_bar_for_each_share_and_colours_for_dark_pages() -> None:
    """To one scale: a source with half of the tokens has a bar twice as long as one with a quarter."""
    sources = [
        {"name": "a<b", "row_share": 0.25, "token_share": 0.5},
        {"name": "c", "row_share": 0.75, "token_share": 0.5},
    ]
    drawn = picture.picture({"summary": {"sources": sources}})
    widths = [float(width) for width in re.findall(r'<rect class="\w+".*? width="([\d.]+)"', drawn)][2:]
    assert widths == pytest.approx([560 / 3, 1120 / 3, 560, 1120 / 3], abs=0.1)
    assert "a&lt;b" in drawn
    assert "prefers-color-scheme: dark" in drawn


def test_the_table_of_the_demo_is_that_of_the_record() -> None:
    """Rows, tokens and the sentence about each source."""
    page = (REPOSITORY / "docs" / "rows-and-tokens.md").read_text()
    summary = json.loads(picture.RECORD.read_text())["summary"]
    for source in summary["sources"]:
        (line,) = re.findall(rf"^{source['name']} .*$", page, re.MULTILINE)
        assert {f"{source['rows']:,}", f"{source['tokens']:,}", f"{source['truncated_documents']:,}"} <= set(
            line.split()
        )
    assert [f"! {note}" for note in summary["notes"]] == re.findall(r"^! .*$", page, re.MULTILINE)
    assert f"{summary['tokens']:,} tokens, {summary['padding']:,} of padding" in page


@pytest.mark.parametrize("table", render.TABLES, ids=lambda table: table.name)
def test_tables_of_speed_are_those_of_the_newest_records(table: render.Table) -> None:
    """What `benchmarks/render.py` would write is what the pages have."""
    newest = max((BENCHMARKS / "records").glob(f"{table.prefix}[0-9]*.jsonl"))
    records = [json.loads(line) for line in newest.read_text().splitlines()]
    inside = table.path.read_text().split(f"<!-- {table.name}:start -->\n")[1].split(f"\n<!-- {table.name}:end -->")[0]
    assert inside == table.render(records)


def test_the_short_table_takes_the_largest_text_of_each() -> None:
    """One row each, held against mixer's largest build."""
    machine = {"cores": 2, "cpu": "Abacus", "date": "2026-01-02", "round": 1, "peak_bytes": None}

    def one(name: str, size: str, text_bytes: int, speed: float) -> dict:
        return {"contestant": name, "size": size, "text_bytes": text_bytes, "mb_per_s": speed, **machine}

    records = [
        one("mixer", "9MB", 9, 30.0),
        one("mixer", "10MB", 10, 60.0),
        one("datatrove", "5MB", 5, 2.0),
        {"contestant": "ancestor", "absent": "datasets not installed", "size": "5MB", "round": 1},
    ]
    rows = [line.split("|")[2:-1] for line in render.render_short(records).splitlines()[2:6]]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["10MB", "60", ""],
        ["", "not installed", ""],
        ["", "not installed", ""],
        ["5MB", "2.0", "30 x"],
    ]


def test_the_arithmetic_of_the_page_on_scale() -> None:
    """Bytes of a sequence, of a token, and of the table's sizes."""
    page = (REPOSITORY / "docs" / "scale.md").read_text()
    sequence = 4 * 8192 + _SEQUENCE_BYTES + _SEGMENT_BYTES
    assert f"4 L + {_SEQUENCE_BYTES} bytes, and {_SEGMENT_BYTES} for each" in page
    assert f"{sequence:,} bytes" in page
    assert f"or {sequence / 8192:.2f} bytes a token" in page
    assert f"| 100 B | {100 * sequence / 8192:.0f} GB |" in page
    assert f"{809e9 / 2**26:,.0f} tasks of 64 Mi" in page
    assert f"64 x {20 * 2**26 / 1e9:.2f} = {64 * 20 * 2**26 / 1e9:.0f} GB" in page
    assert f"at 170 MB/s are {3.21e12 / 170e6 / 3600:.1f} hours" in page


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_parts_and_its_line_in_the_index(path: Path) -> None:
    """Number, date, context, options, decision, figures, record."""
    text = path.read_text()
    number = path.name[:4]
    title = re.match(rf"# {number}: (.+)\n\nDate: (\d{{4}}-\d\d-\d\d)\n", text)
    assert title is not None
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Options", "Decision", "Figures", "Record"]
    assert all(len(part.strip()) > 4 for part in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:])
    assert f"| [{number}]({path.name}) | {title[2]} | {title[1]} |" in (path.parent / "README.md").read_text()


def test_decisions_are_numbered_without_gaps_by_their_dates() -> None:
    """The next one takes the next number."""
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    dates = [re.findall(r"^Date: (.*)$", path.read_text(), re.MULTILINE)[0] for path in DECISIONS]
    assert dates == sorted(dates)


def test_the_table_of_rooms_is_that_of_the_imports() -> None:
    """CONTRIBUTING.md names each row's folders and modules, in the order of tests/test_imports.py."""
    from test_imports import ROWS

    table = re.findall(r"^\| +(\d+) \| (.*?) \|", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    rows: dict[int, set[str]] = {}
    for number, cell in table:
        names = {name.strip("`/").removesuffix(".py") for name in cell.split(", ")}
        rows.setdefault(int(number), set()).update(names)
    assert [rows[number] for number in sorted(rows)] == ROWS


def test_versions_agree() -> None:
    """Of the package and the distribution; and of what the hooks run and what the tests run."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == mixer.__version__
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text()
    constraints = dict(re.findall(r"^([\w-]+)==(.*)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
    pins = dict(re.findall(r"([\w-]+)==([\d.]+)", hooks))
    assert pins.keys() == {"ruff", "codespell"}
    assert pins == {name: constraints.get(name, pins[name]) for name in pins}
    assert constraints["ruff"] == pins["ruff"]
    assert re.findall(r"additional_dependencies: \[(?!\w+==[\d.]+\])", hooks) == []
