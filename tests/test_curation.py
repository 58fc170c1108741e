"""`curate` from a recipe to a build: what stays is what a reader of the rules would keep, whoever runs it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from workshop import Workshop

from mixer.building import build as build_module
from mixer.cli.main import app
from mixer.curate.curation import Curation, Curator
from mixer.curate.facts import jobs
from mixer.curate.filters.load import load_filter
from mixer.errors import MixerError, RecipeError
from mixer.recipe import Recipe, parse_recipe
from mixer.report.row_fate import fate_in_words
from mixer.shards.manifest import load_manifest
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.survey.cache_contents import cache_entries, choose
from mixer.survey.survey import survey
from mixer.tokens.tokenizer import load_tokenizer
from mixer.verify.row_fate import row_fate
from mixer.verify.shards import find_damage

WORDS = [
    "time",
    "way",
    "year",
    "work",
    "government",
    "day",
    "man",
    "world",
    "life",
    "part",
    "house",
    "course",
    "case",
    "system",
    "place",
    "end",
    "group",
    "company",
]
SOURCES = {
    "crawl": {"weight": 5, "path": "crawl/*.jsonl"},
    "edu": {"weight": 3, "path": "edu/*.parquet"},
    "wiki": {"weight": 2, "path": "wiki/*.arrow"},
}


def sentence(chance: random.Random, count: int = 60) -> str:
    return " ".join(chance.choice(WORDS) + str(chance.randint(0, 99)) for _ in range(count))


def edited(chance: random.Random, text: str, share: float) -> str:
    words = text.split()
    for place in chance.sample(range(len(words)), round(share * len(words))):
        words[place] = f"edited{chance.randint(0, 10**6)}"
    return " ".join(words)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of three sources: most of their own, others copies of one another, some twice in their source."""
    chance = random.Random(3)
    shared = [sentence(chance) for _ in range(12)]
    made: dict[str, list[dict[str, Any]]] = {}
    for name, count in (("crawl", 50), ("edu", 40), ("wiki", 30)):
        texts: list[str | None] = [sentence(chance) for _ in range(count)]
        for place, text in enumerate(chance.sample(shared, 8)):
            texts[place * 3] = text
        texts[1], texts[2], texts[count - 1] = texts[0], None, ""
        texts[4] = f"{texts[3]}\n"  # the same words
        made[name] = [
            {"text": text, "url": f"u{number % 25}" if number % 7 else None, "score": (number * 7) % 10 / 10}
            for number, text in enumerate(texts)
        ]
    return made


@pytest.fixture(scope="module")
def root(rows: dict[str, list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curated")
    for name in rows:
        (folder / name).mkdir()
    halves = rows["crawl"][:20], rows["crawl"][20:]
    for number, half in enumerate(halves):
        (folder / f"crawl/{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in half))
    pq.write_table(pa.Table.from_pylist(rows["edu"]), folder / "edu/0.parquet", row_group_size=9)
    table = pa.Table.from_pylist(rows["wiki"])
    with pa.ipc.new_file(folder / "wiki/0.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=8)
    return folder


def recipe(steps: list[dict[str, Any]], sources: dict[str, dict[str, Any]] | None = None, **curate: Any) -> Recipe:
    mapping = {
        "seed": 1,
        "target": {"tokens": 20_000},
        "task_tokens": 4096,
        "sequence": {"length": 128},
        "sources": sources or SOURCES,
        "curate": {"steps": steps, "most_lost": 1} | curate,
    }
    made = parse_recipe(mapping, where="test", default_name="curated")
    return made.model_copy(update={"sources": dict(sorted(made.sources.items()))})


def curate(made: Recipe, root: Path, cache: Path, *, workers: int = 1) -> Curation:
    snapshots = {name: pin(name, source, root) for name, source in made.sources.items()}
    return Curator(made, snapshots, entering={}, root=root, cache_dir=cache).run(workers=workers)


def table(curation: Curation, name: str) -> list[dict[str, Any]]:
    """The columns of a source's rows."""
    found = curation.sets[name]
    blocks = [found.values(number).to_pylist() for number in range(found.num_blocks)]
    return [row for block in blocks for row in block]


def by_hand(
    rows: dict[str, list[dict[str, Any]]],
    key: Callable[[dict[str, Any]], Any],
    *,
    scope: str = "all",
    prefer: tuple[str, ...] = (),
    prefer_by: str | None = None,
    enters: Callable[[str, dict[str, Any]], bool] = lambda name, row: True,
) -> dict[str, list[tuple[str, int] | None]]:
    """The row that each row is dropped for, by walking through all of them in the order of preference."""
    everyone = [(name, number) for name in sorted(rows) for number in range(len(rows[name]))]

    def rank(one: tuple[str, int]) -> Any:
        name, number = one
        row = rows[name][number]
        place = prefer.index(name) if name in prefer else len(prefer)
        value = -row[prefer_by] if prefer_by else 0
        return place, name if place == len(prefer) else "", value, -len((row["text"] or "").encode()), name, number

    stayed: list[tuple[str, int]] = []
    twins: dict[tuple[str, int], tuple[str, int]] = {}
    for one in sorted(everyone, key=rank):
        row = rows[one[0]][one[1]]
        value = key(row)
        if value is None or not enters(one[0], row):
            continue
        for other in stayed:
            same = one[0] == other[0]
            counts = {"all": True, "within": same, "across": not same}[scope]
            if counts and key(rows[other[0]][other[1]]) == value:
                twins[one] = other
                break
        else:
            stayed.append(one)
    return {name: [twins.get((name, number)) for number in range(len(rows[name]))] for name in rows}


def assert_twins(curation: Curation, expected: dict[str, list[tuple[str, int] | None]]) -> None:
    for name, twins in expected.items():
        found = table(curation, name)
        assert [row["keep"] for row in found] == [twin is None for twin in twins]
        pairs = [None if row["twin_row"] is None else (row["twin_source"], row["twin_row"]) for row in found]
        assert pairs == twins
        assert all((row["reason"] is None) == row["keep"] == (row["step"] is None) for row in found)


@pytest.mark.parametrize("scope", ["all", "within", "across"])
@pytest.mark.parametrize("on", ["text", "normalised", "url"])
def test_of_equal_rows_the_preferred_one_stays(
    rows: dict[str, list[dict[str, Any]]], root: Path, tmp_path: Path, scope: str, on: str
) -> None:
    """By text, by words, by a column; null is no duplicate of null."""
    keys = {
        "text": lambda row: row["text"],
        "normalised": lambda row: None if row["text"] is None else row["text"].split(),
        "url": lambda row: row["url"],
    }
    made = recipe([{"exact": {"on": on, "scope": scope}}], prefer=["wiki"], prefer_by="score")
    plain = {name: [{**row, "text": ""} if on == "url" else row for row in some] for name, some in rows.items()}
    expected = by_hand(plain, keys[on], scope=scope, prefer=("wiki",), prefer_by="score")
    found = curate(made, root, tmp_path)
    assert_twins(found, expected)
    assert sum(twin is not None for twins in expected.values() for twin in twins) > 2
    for source in found.record.sources:
        lost = sum(twin is not None for twin in expected[source.name])
        assert (source.rows, source.rows_left, source.steps[0].rows) == (
            len(rows[source.name]),
            source.rows - lost,
            lost,
        )
        assert sum(source.steps[0].reasons.values()) == lost


def test_rows_that_where_drops_win_nothing(rows: dict[str, list[dict[str, Any]]], root: Path, tmp_path: Path) -> None:
    """A copy is not lost to a row that is not there."""
    sources = {
        name: source | {"where": "score < 0.5"} if name == "wiki" else source for name, source in SOURCES.items()
    }
    made = recipe([{"exact": {}}], sources, prefer=["wiki"])
    expected = by_hand(
        rows, lambda row: row["text"], prefer=("wiki",), enters=lambda name, row: name != "wiki" or row["score"] < 0.5
    )
    found = curate(made, root, tmp_path)
    for name, twins in expected.items():
        kept = [row["keep"] for row in table(found, name)]
        inside = [name != "wiki" or row["score"] < 0.5 for row in rows[name]]
        assert kept == [twin is None and there for twin, there in zip(twins, inside, strict=True)]
    out = [row for row in table(found, "wiki") if row["step"] == "where"]
    assert len(out) == sum(row["score"] >= 0.5 for row in rows["wiki"]) > 5


def test_near_duplicates_are_dropped_for_rows_that_stay(tmp_path: Path) -> None:
    """Copies with a few other words go, rows of their own stay; a source of lists takes no part."""
    chance = random.Random(5)
    texts = [sentence(chance, 200) for _ in range(30)]
    near = [edited(chance, text, 0.01) for text in texts[:10]]
    far = [edited(chance, text, 0.3) for text in texts[10:20]]
    for name, some in {"a": texts, "b": [*near, *far]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    files = [{"files": [{"text": text}]} for text in texts[:5]]
    (tmp_path / "code.jsonl").write_text("".join(json.dumps(row) + "\n" for row in files))
    sources = {name: {"weight": 1, "path": f"{name}.jsonl"} for name in ("a", "b")}
    sources["code"] = {"weight": 1, "path": "code.jsonl", "text": "files[].text"}
    found = curate(recipe([{"near": {}}], sources), tmp_path, tmp_path / "cache")
    assert all(row["keep"] for name in ("a", "code") for row in table(found, name))
    dropped = table(found, "b")
    assert [row["keep"] for row in dropped] == [False] * 10 + [True] * 10
    assert [(row["twin_source"], row["twin_row"]) for row in dropped[:10]] == [("a", number) for number in range(10)]
    assert all(79 <= row["agreement"] <= 112 for row in dropped[:10])
    assert [row["copies"] for row in table(found, "a")] == [2] * 10 + [1] * 20
    assert found.record.duplicates == [[0, 0, 0], [10, 0, 0], [0, 0, 0]]


def test_steps_see_what_is_left(tmp_path: Path) -> None:
    """A contaminated row, an exact copy and a near one, each dropped by its own step; reasons sum up."""
    chance = random.Random(6)
    texts = [sentence(chance, 150) for _ in range(20)]
    item = "def answer of everything " + sentence(chance, 30)
    some = [*texts, texts[0], edited(chance, texts[1], 0.01), f"{texts[2]} {item} {texts[3]}"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    (tmp_path / "evals.jsonl").write_text(json.dumps({"prompt": item, "id": 1}) + "\n")
    steps = [
        {"decontaminate": {"against": "evals.jsonl", "fields": ["prompt"]}},
        {"exact": {}},
        {"near": {"scope": "all"}},
    ]
    found = curate(recipe(steps, {"a": {"weight": 1, "path": "a.jsonl"}}), tmp_path, tmp_path / "cache")
    dropped = {number: row["step"] for number, row in enumerate(table(found, "a")) if not row["keep"]}
    # The edited copy of row 1 is longer, so it stays.
    assert dropped == {20: "2 exact text", 1: "3 near", 22: "1 decontaminate"}
    assert [step.rows for step in found.record.sources[0].steps] == [1, 1, 1]
    assert found.record.sources[0].rows_left == 20
    assert found.record.warnings == ()
    late = curate(recipe(list(reversed(steps)), {"a": {"weight": 1, "path": "a.jsonl"}}), tmp_path, tmp_path / "cache")
    assert any("put it before step 1 near" in warning for warning in late.record.warnings)


def test_a_filter_drops_what_it_refuses(rows: dict[str, list[dict[str, Any]]], root: Path, tmp_path: Path) -> None:
    """Of the sources that the step names, with the filter's own reasons."""
    parameters = {"min_doc_words": 20, "max_avg_word_length": 6.05}
    made = recipe([{"filter": {"name": "gopher-quality", "parameters": parameters, "sources": ["crawl", "wiki"]}}])
    found = curate(made, root, tmp_path)
    judge = load_filter("gopher-quality", parameters, place="here")
    for name, some in rows.items():
        verdicts = judge.evaluate(pa.array([row["text"] for row in some], pa.large_string()))
        words = [verdicts.reasons[code] if code and name != "edu" else None for code in verdicts.reason.tolist()]
        assert [row["reason"] for row in table(found, name)] == words
        assert [row["keep"] for row in table(found, name)] == [word is None for word in words]
    lost = {source.name: source.steps[0].reasons for source in found.record.sources}
    assert lost["edu"] == {}
    assert len(lost["crawl"]) > 1


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"filter": {"name": "gopher-qualty"}}, r"gopher-quality"),
        ({"filter": {"name": "c4", "parameters": {"min_words": 3}}}, r"min_words"),
        ({"decontaminate": {"against": "gone.jsonl", "fields": ["prompt"]}}, r"gone\.jsonl"),
        ({"exact": {"on": "address"}}, r"column 'address' is not in the source"),
        ({"near": {}}, "curate.prefer_by: column 'text' is of type"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(root: Path, tmp_path: Path, step: dict[str, Any], message: str) -> None:
    """By what is wrong, before or while facts are computed."""
    more = {"prefer_by": "text"} if "near" in step else {}
    with pytest.raises(MixerError, match=message):
        curate(recipe([step], **more), root, tmp_path)


STEPS: list[dict[str, Any]] = [{"exact": {"on": "normalised"}}, {"near": {"scope": "all"}}]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from mixer.curate.facts import chunks

    monkeypatch.setattr(chunks, "CHUNK_ROWS", 10)


@pytest.mark.usefixtures("small_chunks")
def test_the_result_is_the_same_whoever_computes_it(root: Path, tmp_path: Path) -> None:
    """One worker or three, and facts that were half computed when it was stopped."""
    made = recipe(STEPS)
    first = curate(made, root, tmp_path / "one")
    second = curate(made, root, tmp_path / "three", workers=3)
    digests = {name: one.digest for name, one in first.sets.items()}
    assert {name: one.digest for name, one in second.sets.items()} == digests
    stopped = tmp_path / "stopped"
    for path in sorted((tmp_path / "one/facts").glob("*/0*.json"))[::2]:
        target = stopped / path.relative_to(tmp_path / "one")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.with_suffix(".arrow").write_bytes(path.with_suffix(".arrow").read_bytes())
    third = curate(made, root, stopped)
    assert {name: one.digest for name, one in third.sets.items()} == digests


def test_another_threshold_reads_no_text(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does another order of preference, another scope, or a step less."""
    curate(recipe(STEPS), root, tmp_path)

    def nothing(*args: Any, **more: Any) -> None:
        raise AssertionError("a text was read")

    monkeypatch.setattr(jobs, "iter_fact_rows", nothing)
    monkeypatch.setattr(jobs.LocalEngine, "run", nothing)
    for steps, more in [
        ([STEPS[0], {"near": {"scope": "all", "similarity": 0.9}}], {}),
        (STEPS, {"prefer": ["wiki", "edu"]}),
        ([{"near": {}}], {}),
        ([{"exact": {"scope": "within"}}], {}),
    ]:
        assert curate(recipe(steps, **more), root, tmp_path).record.sources[0].rows == 50


def build(workshop: Workshop, made: Recipe, root: Path, out: Path, **arguments: Any) -> Any:
    usual = {"root": root, "cache_dir": workshop.cache_dir, "workers": 1, "batch_tokens": 1024}
    return build_module.build(made, out=out, **usual | arguments)


def test_a_build_draws_only_rows_that_stay(
    workshop: Workshop, rows: dict[str, list[dict[str, Any]]], root: Path, tmp_path: Path
) -> None:
    """And holds what decided it; a `where` over the result is applied after the last step."""
    sources = {
        name: source | {"where": "curate.copies < 3"} if name == "crawl" else source for name, source in SOURCES.items()
    }
    made = recipe([{"exact": {"on": "text"}}], sources)
    manifest = build(workshop, made, root, tmp_path / "out")
    assert list(find_damage(tmp_path / "out", load_manifest(tmp_path / "out"))) == []
    expected = by_hand(rows, lambda row: row["text"])
    copies: dict[tuple[str, int], int] = {}
    for twins in expected.values():
        for twin in filter(None, twins):
            copies[twin] = copies.get(twin, 1) + 1
    wanted = {
        (name, number)
        for name, twins in expected.items()
        for number, twin in enumerate(twins)
        if twin is None and (name != "crawl" or copies.get((name, number), 1) < 3)
    }
    drawn = set()
    for shard in workshop.rows(tmp_path / "out", manifest):
        for row in shard:
            drawn |= set(zip(row["segment_source"], row["segment_row"], strict=True))
    names = manifest.source_names
    found = {(names[source], row) for source, row in drawn if source >= 0}
    with_text = {(name, number) for name, number in wanted if rows[name][number]["text"]}
    assert found == with_text
    again = build(workshop, made, root, tmp_path / "again", workers=2)
    assert again.id == manifest.id


def test_a_plan_says_what_is_not_curated_yet(workshop: Workshop, root: Path, tmp_path: Path) -> None:
    """Without facts it counts all rows; with them, those that stay."""
    made = recipe(STEPS)
    tokenizer = load_tokenizer("llama3", root=root, cache_dir=workshop.cache_dir)
    before = survey(made, tokenizer, root=root, cache=PinCache(tmp_path))
    assert before.lacks_curation
    assert before.snapshots["crawl"].num_kept == 50
    curation = curate(made, root, tmp_path)
    after = survey(made, tokenizer, root=root, cache=PinCache(tmp_path))
    assert not after.lacks_curation
    assert after.snapshots["crawl"].num_kept == curation.record.sources[0].rows_left < 50


def test_a_source_that_loses_too_much_is_refused(tmp_path: Path) -> None:
    """With the step that took it, and the way to allow it."""
    (tmp_path / "a.jsonl").write_text('{"text": "the same"}\n' * 100)
    sources = {"a": {"weight": 1, "path": "a.jsonl"}}
    with pytest.raises(RecipeError, match=r"a loses 99 of 100 rows, most of them at step 1 exact text") as caught:
        curate(recipe([{"exact": {}}], sources, most_lost=0.95), tmp_path, tmp_path / "cache")
    assert "most_lost" in str(caught.value.hint)
    assert curate(recipe([{"exact": {}}], sources), tmp_path, tmp_path / "cache").record.sources[0].rows_left == 1


def test_trace_names_the_row_that_a_duplicate_was_dropped_for(
    workshop: Workshop, rows: dict[str, list[dict[str, Any]]], root: Path, tmp_path: Path
) -> None:
    """With its file and its place in it; and the step that `where` is."""
    sources = {name: source | ({"where": "score < 0.5"} if name == "wiki" else {}) for name, source in SOURCES.items()}
    made = recipe([{"exact": {}}, {"near": {"scope": "all"}}], sources)
    manifest = build(workshop, made, root, tmp_path / "out")
    enters = lambda name, row: name != "wiki" or row["score"] < 0.5  # noqa: E731
    twins = by_hand(rows, lambda row: row["text"], enters=enters)["edu"]
    row = next(number for number, twin in enumerate(twins) if twin is not None and twin[0] == "crawl")
    where = {"root": root, "cache_dir": workshop.cache_dir}
    fate = row_fate(tmp_path / "out", manifest, 1, row, is_in_a_sequence=False, **where)
    name, number = twins[row] or ("", 0)
    file = f"{number // 20}.jsonl, row {number if number < 20 else number - 20}"
    assert fate_in_words(fate) == (
        f"the source's row attributes drop it: step 1 exact text, a duplicate of {name} row {number} ({file}): the same"
    )
    gone = next(number for number, one in enumerate(rows["wiki"]) if one["score"] >= 0.5)
    fate = row_fate(tmp_path / "out", manifest, 2, gone, is_in_a_sequence=False, **where)
    assert fate_in_words(fate).endswith("where does not hold")


def test_the_command_shows_what_went_and_the_cache_knows_its_files(root: Path, tmp_path: Path) -> None:
    """Tables for people, the record for programs; the facts are listed, and pruned when they are old."""
    (tmp_path / "r.yaml").write_text(
        "sources:\n"
        "  crawl: {weight: 1, path: crawl/*.jsonl}\n"
        "  edu: {weight: 1, path: edu/*.parquet}\n"
        "target: {rows: 10}\n"
        "curate: {prefer: [edu], most_lost: 1, steps: [{exact: {}}, {near: {scope: all}}]}\n"
    )
    cache = tmp_path / "cache"
    arguments = ["curate", str(tmp_path / "r.yaml"), "--root", str(root), "--cache", str(cache), "--workers", "1"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "exact text" in shown.output.replace("\n", " ") or "exact" in shown.output
    assert "rows dropped for a row of" in shown.output
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found["steps"] == ["1 exact text", "2 near"]
    assert [source["name"] for source in found["sources"]] == ["crawl", "edu"]
    assert found["sources"][0]["rows_left"] < found["sources"][0]["rows"] == 50
    entries = [entry for entry in cache_entries(cache) if entry.kind == "curation"]
    ours = [path for name in ("facts", "edges", "curations", "attributes") for path in (cache / name).rglob("*")]
    assert {entry.path for entry in entries} == {path for path in ours if path.is_file()}
    later = max(entry.used_unix for entry in entries) + 10_000
    assert set(choose(entries, now=later, older_than_seconds=5_000, max_bytes=None)) == set(entries)
    assert choose(entries, now=later, older_than_seconds=None, max_bytes=0) == []
    plain = CliRunner().invoke(app, ["curate", str(Path(__file__).parents[1] / "recipes/sample.yaml")])
    assert plain.exit_code == 1 or "the recipe has no `curate`" in str(plain.exception)
