"""What people read: numbers, the table, the words, and the text of documents."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_kit import Drawn, manifest_of, plan_to
from rich.console import Console

from mixer.building.ledger import Progress
from mixer.cli.options import build_folder, manifests_dir, remembered_root
from mixer.errors import UsageError
from mixer.mixing.target import Extent
from mixer.plan.plan import Plan
from mixer.report.advance import AdvanceLines, advance_line
from mixer.report.console import visible
from mixer.report.inspect import print_summary, summary_json
from mixer.report.numbers import aligned_percent, counted, duration, num_bytes, percent, short
from mixer.report.progress import BuildProgress
from mixer.report.sequence import locate
from mixer.report.tables import Summary, summarise
from mixer.report.words import surprises, totals_in_words
from mixer.shards.locate import Locator
from mixer.shards.records import (
    ReferenceCheck,
    SourceCounts,
    TaskRecord,
)
from mixer.system.progress import Advance, Work

pytestmark = pytest.mark.quick


def test_short_counts():
    """Counts keep three digits and a unit, and stay exact below ten thousand."""
    shown = [short(count) for count in (0, 7, 9999, 10_000, 999_499, 999_500, 10_006_504, 809 * 10**9, 5.5e12)]
    assert shown == ["0", "7", "9,999", "10.0K", "999K", "1.00M", "10.0M", "809B", "5.50T"]


@given(st.integers(0, 10**15 - 10**12))
@settings(deadline=None, max_examples=60)
def test_short_counts_stay_short_and_near(count):
    """At most six characters, and within half a percent of the truth."""
    text = short(count)
    assert len(text) <= 6
    unit = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}.get(text[-1])
    value = float(text[:-1]) * unit if unit else int(text.replace(",", ""))
    assert abs(value - count) <= 0.006 * count


def test_percent_is_never_zero_for_what_is_not():
    """Small shares keep two digits; the smallest say so."""
    assert [percent(share) for share in (0, 1e-9, 0.0023, 0.00994, 0.00995, 0.798, 1)] == [
        "0.0 %", "<0.01 %", "0.23 %", "0.99 %", "1.0 %", "79.8 %", "100.0 %",
    ]  # fmt: skip
    assert [aligned_percent(share) for share in (0, 1e-9, 0.798)] == ["0.00 %", "<0.01 %", "79.80 %"]


def test_bytes_durations_and_nouns():
    """Decimal units; seconds, then minutes, then hours; one thing has no s."""
    assert [num_bytes(count) for count in (999, 1_500, 40_127_277, 2.5e9)] == [
        "999 bytes", "1.50 kB", "40.1 MB", "2.50 GB",
    ]  # fmt: skip
    assert [duration(seconds) for seconds in (0, 9.94, 9.96, 59.6, 200, 43_400)] == [
        "0.0 s", "9.9 s", "10 s", "1:00", "3:20", "12:03:20",
    ]  # fmt: skip
    assert [counted(count, "shard") for count in (0, 1, 1226)] == ["0 shards", "1 shard", "1,226 shards"]


def test_the_summary_counts_left_out_tokens_as_read():
    """A row's mean size is that of the documents, whether or not all of it fitted before the build's end."""
    summary = summarise(manifest_of(Drawn(name="a", rows=10, tokens=90, tokens_left_out=10, text_bytes=400)))
    (row,) = summary.sources
    assert (row.tokens_per_row, row.bytes_per_token) == (10.0, 4.0)
    assert (summary.tokens_per_row, summary.bytes_per_token) == (10.0, 4.0)
    assert summary.padding_share == 0.1


def test_an_empty_source_is_no_division_by_zero():
    """A source that was never drawn has zeros, a row in the table, and no surprise."""
    summary = summarise(
        manifest_of(
            Drawn(name="a", rows=10, tokens=100, row_weight=1000),
            Drawn(name="b", rows=0, tokens=0, weight=0.001, row_weight=1),
        )
    )
    assert (summary.sources[1].tokens_per_row, summary.sources[1].bytes_per_token) == (0.0, 0.0)
    assert surprises(summary) == []


def test_a_share_of_tokens_far_from_the_rows_is_said():
    """Rows are not tokens: the farthest source first, with its mean row and how that compares."""
    sources = [
        Drawn(name="web", rows=50, tokens=80),
        Drawn(name="code", rows=20, tokens=900),
        Drawn(name="books", rows=30, tokens=20),
    ]
    assert surprises(summarise(manifest_of(*sources))) == [
        "code is 20.0 % of the rows and 90.0 % of the tokens: a row of it is 45 tokens, 4.5 times the mean",
        "web is 50.0 % of the rows and 8.0 % of the tokens: a row of it is 2 tokens, 0.16 times the mean",
        "books is 30.0 % of the rows and 2.0 % of the tokens: a row of it is 1 token, 0.07 times the mean",
    ]


@pytest.mark.parametrize(
    ("rows", "tokens", "far"),
    [(500, 600, False), (500, 760, True), (10, 28, False), (10, 31, True), (31, 10, True), (490, 500, False)],
)
def test_far_needs_both_a_factor_and_a_difference(rows, tokens, far):
    """A factor of 1.5 AND 2 points: a tiny source may be ten times off without a word."""
    summary = summarise(
        manifest_of(Drawn(name="a", rows=rows, tokens=tokens), Drawn(name="b", rows=1000 - rows, tokens=1000 - tokens))
    )
    assert any(line.startswith("a is ") for line in surprises(summary)) is far


def test_a_repeated_source_is_said():
    """More than one pass is named, most passes first; exactly one is not."""
    sources = [
        Drawn(name="once", rows=100, rows_available=100, tokens=100),
        Drawn(name="more", rows=100, rows_available=99, tokens=100),
        Drawn(name="often", rows=100, rows_available=31, tokens=100),
    ]
    assert surprises(summarise(manifest_of(*sources))) == [
        "often was read 3.2 times: 100 draws from 31 rows",
        "more was read a little more than once: 100 draws from 99 rows",
    ]


def test_skipped_rows_are_said_with_their_reasons():
    """Each reason in words; one that is not known yet as it is."""
    skipped = {"bad_row": 0, "empty_text": 1200, "odd_reason": 1, "too_long": 3}
    assert surprises(summarise(manifest_of(Drawn(name="a", rows=9000, tokens=100, skipped=skipped)))) == [
        "a: 1,204 of the 9,000 rows drawn were skipped: 1,200 with an empty text, "
        "1 odd reason, 3 longer than max_document_tokens"
    ]


def test_other_ids_than_the_reference_are_said():
    """A document that the reference tokenizer encodes otherwise is no small thing."""
    content = manifest_of(Drawn(name="a", rows=10, tokens=100), check=ReferenceCheck(documents=37, different=1))
    assert surprises(summarise(content)) == [
        "1 of the 37 documents that the reference tokenizer checked got other ids from it"
    ]


def test_totals_in_words():
    """Sequences, tokens, padding, cut documents and the check, each with its share."""
    assert totals_in_words(summarise(manifest_of(Drawn(name="a", rows=10, tokens=90, tokens_left_out=5)))) == [
        "10 sequences of 10 in 1 shard (llama3, concat)",
        "90 tokens, 10 of padding (10.0 %), 5 left out at the end",
        "10 documents, 4 cut at the end of a sequence (40.0 %)",
        "37 documents checked against the reference tokenizer, 0 different",
    ]


def test_the_table_of_a_narrow_window_leaves_out_the_least():
    """At 60 columns the shares are there, whole; what was asked and what a token weighs are not."""
    content = manifest_of(
        Drawn(name="web", rows=900, tokens=200, row_weight=9005),
        Drawn(name="code", rows=100, tokens=800, row_weight=995),
    )
    lines = render(summarise(content), width=60)
    assert lines[1].split() == ["source", "rows", "asked", "got", "tokens", "got", "/row", "passes"]
    assert lines[3].split() == ["web", "900", "90.05", "%", "90.00", "%", "200", "20.00", "%", "0", "0.09"]


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-g][a-g-]{0,59}", fullmatch=True), st.integers(0, 10**11), st.integers(0, 10**14)),
        min_size=1,
        max_size=5,
        unique_by=lambda source: source[0],
    ),
    st.sampled_from([80, 100, 160]),
    st.sampled_from(["rows", "tokens"]),
)
@settings(deadline=None, max_examples=40)
def test_no_line_is_wider_than_the_window(sources, width, weights):
    """Whatever the counts and names, the table fits in 80 columns and more."""
    content = manifest_of(
        *(Drawn(name=name, rows=rows, tokens=tokens if rows else 0) for name, rows, tokens in sources), weights=weights
    )
    assert max(map(len, render(summarise(content), width=width))) <= width


def test_the_json_has_the_notes():
    """What people read as `!` lines programs get as `notes`."""
    summary = summarise(manifest_of(Drawn(name="web", rows=900, tokens=200), Drawn(name="code", rows=100, tokens=800)))
    assert summary_json(summary)["notes"] == surprises(summary)
    assert summary_json(summary)["sources"][1]["token_share"] == 0.8


def test_visible_escapes_what_a_terminal_obeys():
    """Escape, bell, C1, bidirectional overrides and line separators are written out; text in any script stays."""
    assert visible("a\x1b[2J\x07\x9b1m\u202e\u2028\r\x7f") == r"a\x1b[2J\x07\x9b1m\u202e\u2028\r\x7f"
    kept = "猫 naïve\t\n \u3000\u00a0👩\u200d🚀 नमस्ते"
    assert visible(kept) == kept


@given(st.text())
@settings(deadline=None, max_examples=60)
def test_nothing_visible_is_a_control_character(text):
    """Of the control characters only line feed and tab get through."""
    shown = visible(text)
    assert all(char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160) for char in shown)
    assert visible(shown) == shown


@given(st.lists(st.integers(0, 4), max_size=6))
@settings(deadline=None, max_examples=60)
def test_sequences_are_counted_over_all_shards(sizes):
    """Every number has one place, in the manifest's order; none is beyond."""
    locator = Locator(sizes, 2)
    expected = [(shard, row, row // 2, row % 2) for shard, size in enumerate(sizes) for row in range(size)]
    places = [locator.place(number) for number in range(sum(sizes))]
    assert [(place.shard, place.row, place.batch, place.row_in_batch) for place in places] == expected
    assert locator.batches(range(sum(sizes))) == [(shard, batch, row) for shard, _, batch, row in expected]
    assert (locator.num_sequences, [locator.first_of(shard) for shard in range(len(sizes))]) == (
        sum(sizes),
        [sum(sizes[:shard]) for shard in range(len(sizes))],
    )


def test_a_sequence_that_is_not_there_is_said():
    """Neither before the first nor after the last."""
    content = manifest_of(Drawn(name="a", rows=10, tokens=90))
    assert locate(9, content).row == 9
    for number in (-1, 10):
        with pytest.raises(UsageError, match=f"there is no sequence {number}"):
            locate(number, content)


def test_progress_counts_what_this_run_did(capsys):
    """Speed and time left come from what is done from the first call on; what was done before is no speed."""
    now = [100.0]
    shown = BuildProgress(quiet=True, clock=lambda: now[0])
    shown.on_plan(plan(tokens=1000))
    progress = Progress(estimated_tasks=10, num_resumed=1)
    progress.add(result(0, tokens=500))
    now[0] = 105.0
    shown.on_progress(progress)
    assert shown.line(progress) == "50.0 % · 500 of 1,000 tokens · 1 task from before"
    now[0] = 115.0
    progress.add(result(1, tokens=100))
    shown.on_progress(progress)
    assert shown.line(progress) == (
        "60.0 % · 600 of 1,000 tokens · 10 tokens/s · 40 bytes/s of text · 40 s left · 1 task from before"
    )
    assert capsys.readouterr() == ("", "")


def test_progress_elsewhere_than_on_a_terminal_is_a_line_now_and_then(capsys):
    """The plan, a line every five seconds, and the last one; nothing twice."""
    now = [0.0]
    with BuildProgress(quiet=False, clock=lambda: now[0]) as shown:
        shown.on_plan(plan(tokens=800))
        progress = Progress(estimated_tasks=8)
        for task in range(8):
            now[0] += 2.0
            progress.add(result(task, tokens=100))
            shown.on_progress(progress)
    words = capsys.readouterr().err.splitlines()
    assert [line.split(" · ")[0] for line in words] == [
        "tiny: 1 source, about 800 tokens in 8 tasks", "37.5 %", "75.0 %", "100.0 %",
    ]  # fmt: skip
    assert words[-1] == "100.0 % · 800 of 800 tokens · 50 tokens/s · 200 bytes/s of text · in 16 s"


def test_where_things_lie(tmp_path):
    """Manifests go beside `recipes`, else into the recipe's folder; a build's log remembers its root."""
    (tmp_path / "recipes").mkdir()
    assert manifests_dir(tmp_path / "recipes" / "a.yaml") == tmp_path / "manifests"
    assert manifests_dir(tmp_path / "a.yaml") == tmp_path / "manifests"
    assert build_folder(tmp_path) == build_folder(tmp_path / "manifest.json") == tmp_path
    assert remembered_root(tmp_path) is None
    (tmp_path / "build-log.json").write_text('{"root": "/data"}')
    assert remembered_root(tmp_path) == Path("/data")


def render(summary: Summary, width: int) -> list[str]:
    """The lines that a terminal of this width shows."""
    file = io.StringIO()
    print_summary(summary, Console(file=file, width=width, force_terminal=True, no_color=True, color_system=None))
    return file.getvalue().splitlines()


def plan(tokens: int) -> Plan:
    """A plan of one source, of ten tokens a draw and ten draws a task."""
    return plan_to(Extent(max_draws=None, end_tokens=tokens, end_sequences=None, estimated_draws=tokens // 10))


def result(task: int, tokens: int) -> TaskRecord:
    """A finished task of one source with four bytes a token."""
    return TaskRecord(
        plan="b" * 64,
        task=task,
        stage=0,
        draws=(10 * task, 10 * task + 10),
        limit=None,
        cut=None,
        sequences=1,
        tokens=tokens,
        padding=0,
        counts=(SourceCounts(rows=10, documents=10, skipped={}, text_bytes=4 * tokens, tokens=tokens),),
        reference_check=ReferenceCheck(),
        content_xxh3=None,
        content_sha256=None,
        file=None,
    )


def test_pinning_that_takes_long_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A line every five seconds, over all sources; none where that is not wanted."""
    seconds = iter(range(0, 100, 2))
    progress = AdvanceLines(clock=lambda: next(seconds))
    for done in range(1, 8):
        progress(
            Advance(
                work=Work.PIN_SOURCE,
                about="web",
                done=done,
                total=30_000,
                done_bytes=done * 10**9,
                total_bytes=30 * 10**12,
            )
        )
    AdvanceLines(quiet=True, clock=lambda: next(seconds))(Advance(work=Work.EXPORT, done=9, total=9))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "web: 3 of 30,000 files pinned, 3.00 GB of 30.0 TB"
    assert 1 < len(lines) < 4


@pytest.mark.parametrize(
    ("advance", "line"),
    [
        (Advance(work=Work.PIN_SOURCES), "pinning the sources"),
        (Advance(work=Work.CHECK_SHARDS, total=1200), "checking 1,200 shards"),
        (
            Advance(work=Work.ENCODE_SAMPLE, total=32),
            "encoding a sample of 32 sequences with the reference",
        ),
        (Advance(work=Work.REBUILD_TASK), "rebuilding one task"),
        (Advance(work=Work.READ_FILES, total=1), "reading 1 file of the sources"),
        (
            Advance(work=Work.REMAKE_SHARD, about="shards/00002.arrow", done=1, total=3),
            "rebuilding shards/00002.arrow (1 of 3)",
        ),
        (Advance(work=Work.EXPORT, done=3, total=10), "3 of 10 shards"),
    ],
)
def test_each_kind_of_work_has_its_line(advance: Advance, line: str) -> None:
    """Sentences are made in one place."""
    assert advance_line(advance) == line
