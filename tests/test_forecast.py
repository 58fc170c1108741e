"""What a mix will be: the errors of samples, arithmetic with errors, facts, and the plan against the build."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_kit import passes
from workshop import Workshop

from mixer.errors import RecipeError, UsageError
from mixer.plan.forecast import Forecast, forecast
from mixer.plan.match import matching_row_weights
from mixer.plan.plan import make_plan
from mixer.plan.training import parse_tokens, training
from mixer.recipe import Recipe, load_recipe, parse_recipe
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.survey.estimate import Cause, Estimate, student_point, total, uncertain, within
from mixer.survey.measure import measure_sources
from mixer.survey.measurement import Measurement, measurement
from mixer.survey.profile import SourceProfile
from mixer.survey.profiles import profile_of, profiles_of_sources
from mixer.survey.published import PACKAGED, facts_of, load_facts, profiles_of_facts
from mixer.survey.result import Survey
from mixer.survey.survey import survey
from mixer.tokens.tokenizer import Tokenizer, load_tokenizer

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).parents[1]
ZYDA2 = REPOSITORY / "recipes" / "llama3-8b-zyda2.yaml"


# A sample and its error.


def sample_of(tokens: list[int], windows: list[int], total_rows: int) -> Measurement:
    return measurement(np.array(tokens), np.array(windows), num_bytes=4 * sum(tokens), total_rows=total_rows)


def test_a_window_is_one_observation() -> None:
    """The example of the docstring, to the last digit."""
    found = sample_of([1, 3, 4, 4], [0, 0, 1, 1], 8)
    assert found == Measurement(
        tokens_per_row=3.0,
        standard_error=math.sqrt(0.5),
        row_deviation=2.0,
        degrees_of_freedom=1,
        num_rows=4,
        num_bytes=48,
    )
    assert found.bytes_per_row == 12.0


def test_what_was_read_whole_has_no_error() -> None:
    """But its rows differ all the same."""
    found = sample_of([1, 3, 4, 4], [0, 0, 1, 1], 4)
    assert (found.standard_error, found.row_deviation) == (0.0, 2.0)


def test_one_window_is_taken_by_its_rows() -> None:
    """Rows 2 and 4 of many: variance 2 of a row, so 1 of the mean."""
    found = sample_of([2, 4], [7, 7], 10**9)
    assert found.standard_error == pytest.approx(1.0)
    assert found.degrees_of_freedom == 1


def test_one_row_of_many_tells_nothing_of_its_error() -> None:
    """The interval of its mean has no ends, and that of its share is everything."""
    found = sample_of([5], [0], 100)
    assert math.isinf(found.standard_error)
    profile = profile_of("a", found, num_rows=100)
    assert profile.tokens_per_row.interval == (0.0, math.inf)
    other = Estimate(value=5.0)
    assert (profile.tokens_per_row / total([profile.tokens_per_row, other])).share_interval == (0.0, 1.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=2, max_size=6), st.integers(0, 40))
def test_the_error_is_that_of_a_ratio_of_clusters(windows: list[list[int]], more: int) -> None:
    """Against the formula written out, number by number."""
    rows = [tokens for window in windows for tokens in window]
    found = sample_of(rows, [n for n, window in enumerate(windows) for _ in window], len(rows) + more)
    mean = sum(rows) / len(rows)
    squares = sum((sum(window) - mean * len(window)) ** 2 for window in windows)
    variance = len(windows) / (len(windows) - 1) * squares / len(rows) ** 2 * more / (len(rows) + more)
    assert found.tokens_per_row == mean
    assert found.standard_error == pytest.approx(math.sqrt(variance))


def population(kind: str, sigma: float) -> np.ndarray:
    """Tokens of 400,000 rows with a long tail: independent, or alike within a stretch of 100."""
    generator = np.random.Generator(np.random.Philox(key=11))
    own = generator.normal(size=400_000)
    if kind == "alike":
        own = math.sqrt(0.7) * own + math.sqrt(0.3) * np.repeat(generator.normal(size=4_000), 100)
    return np.exp(7 + sigma * own).astype(np.int64)


@pytest.mark.parametrize("kind", ["independent", "alike"])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 2.0])
def test_an_interval_holds_the_truth_nearly_as_often_as_it_says(kind: str, sigma: float) -> None:
    """Most of 400 intervals of 95 %, of samples as `mixer plan` takes them; at sigma 2 a row is 7 times the next."""
    rows = population(kind, sigma)
    truth = rows.mean()
    generator = np.random.Generator(np.random.Philox(key=12))
    held = 0
    for _ in range(400):
        picked = [rows[start : start + 32] for start in generator.integers(0, len(rows) - 32, size=64)]
        # Reading ends with the window that brings 32 MiB of text.
        ends = np.flatnonzero(np.cumsum([4 * window.sum() for window in picked]) >= 32 << 20)
        picked = picked[: ends[0] + 1] if len(ends) else picked
        tokens = np.concatenate(picked)
        found = measurement(tokens, np.arange(len(tokens)) // 32, num_bytes=1, total_rows=len(rows))
        low, high = profile_of("a", found, num_rows=len(rows)).tokens_per_row.interval
        held += low <= truth <= high
    assert held >= 0.86 * 400


def test_the_mean_of_a_small_source_is_that_of_all_its_rows(
    workshop: Workshop, llama3: Tokenizer, tmp_path: Path
) -> None:
    """Rows without text count as none, BOS and EOS are counted; the bytes are those of the text."""
    recipe = workshop.recipe()
    cache = PinCache(workshop.cache_dir)
    for name, source in recipe.sources.items():
        snapshot = pin(name, source, workshop.root, cache)
        reader = SourceReader(name, source, snapshot)
        texts = [
            text.as_py()
            for block, kept in enumerate(snapshot.block_kept.tolist())
            for part in reader.read(block, 0, kept)
            for text in part.text
        ]
        lengths = [len(llama3.reference.encode(text)) + 2 if text else 0 for text in texts]
        found = measure_sources({name: source}, [snapshot], llama3, recipe, tmp_path)[name]
        assert found.tokens_per_row == sum(lengths) / len(texts)
        assert (found.standard_error, found.num_rows) == (0.0, len(texts))
        assert found.num_bytes == sum(len(text.encode()) for text in texts if text)


# Arithmetic with errors.


def test_students_points_are_those_of_the_tables() -> None:
    """Degrees of freedom and the 97.5 % point; between 1 and 3 the wider one."""
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 7: 2.365, 10: 2.228, 30: 2.042, 63: 1.998}
    for degrees, point in table.items():
        assert student_point(degrees) == pytest.approx(point, abs=0.004)
    assert student_point(math.inf) == pytest.approx(1.95996, abs=1e-5)
    assert student_point(1.7) == student_point(1)


def test_one_cause_is_not_counted_twice() -> None:
    """Tokens per row from rows of which one is not sure, times these rows, are as sure as the tokens."""
    rows = within(100.0, share=0.2, cause=Cause(name="rows"))
    per_row = Estimate(value=700.0) / rows
    assert per_row.relative_error > 0.09
    assert (per_row * rows).interval == (700.0, 700.0)
    assert (rows / total([rows, rows])).share_interval == (0.5, 0.5)


def test_within_is_a_factor_each_way() -> None:
    """Within 25 %: from 80 to 125."""
    assert within(100.0, share=0.25, cause=Cause(name="a")).interval == pytest.approx((80.0, 125.0), rel=1e-6)


def test_independent_errors_add_as_squares() -> None:
    """3 % and 4 % are 5 % of a product, and of a quotient; of a sum each counts with its part."""
    one = uncertain(1.0, standard_error=0.03, cause=Cause(name="a"))
    other = uncertain(1.0, standard_error=0.04, cause=Cause(name="b"))
    assert (one * other).relative_error == pytest.approx(0.05)
    assert (one / other).relative_error == pytest.approx(0.05)
    assert total([one, other]).relative_error == pytest.approx(0.025)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0.02, 1), st.floats(0, 0.12)), min_size=2, max_size=5),
    st.integers(0, 10**6),
)
def test_shares_have_the_interval_that_trying_gives(parts: list[tuple[float, float]], key: int) -> None:
    """Against 20,000 trials of all parts at once, whose middle 95 % it is, within a tenth of its width."""
    whole = math.fsum(value for value, _ in parts)
    estimates = [
        uncertain(value, standard_error=value * error, cause=Cause(name=str(number)))
        for number, (value, error) in enumerate(parts)
    ]
    normal = np.random.Generator(np.random.Philox(key=key)).normal(size=(20_000, len(parts)))
    trials = np.array([value for value, _ in parts]) * np.exp(normal * [error for _, error in parts])
    shares = trials / trials.sum(axis=1, keepdims=True)
    for number, estimate in enumerate(estimates):
        share = estimate / total(estimates)
        low, high = share.share_interval
        assert share.value == pytest.approx(parts[number][0] / whole)
        assert 0 <= low <= share.value <= high <= 1
        tried = np.quantile(shares[:, number], [0.025, 0.975])
        assert np.allclose((low, high), tried, atol=0.1 * (tried[1] - tried[0]) + 1e-9)


# The mixture whose facts are kept.


def plan_of_facts(*overrides: str) -> Forecast:
    recipe = load_recipe(ZYDA2, overrides)
    return forecast(recipe, profiles_of_facts(recipe, load_facts(PACKAGED)))


ROWS = {
    "dclm": 2_590.5e6,
    "fineweb-edu": 1_279.1e6,
    "dolma": 445.6e6,
    "zyda": 247.7e6,
    "stack-v2": 40.1e6,
    "finemath": 21_405_610,
}
TOKENS_PER_ROW = {
    "dclm": 3_348.9e9 / 2_590.5e6,
    "fineweb-edu": 1_319.2e9 / 1_279.1e6,
    "dolma": 238.4e9 / 445.6e6,
    "zyda": 163.6e9 / 247.7e6,
    "stack-v2": 525e9 / 40.1e6,
    "finemath": 34e9 / 21_405_610,
}
WEIGHTS = {"dclm": 0.40, "fineweb-edu": 0.44, "dolma": 0.03, "zyda": 0.02, "stack-v2": 0.10, "finemath": 0.01}
MEAN = sum(WEIGHTS[name] * TOKENS_PER_ROW[name] for name in WEIGHTS)


def test_rows_are_not_tokens_in_the_published_mixture() -> None:
    """10 % of the rows from Stack v2 are about 56 % of the tokens; a row of each source as the facts give it."""
    mix = plan_of_facts()
    found = {source.name: source for source in mix.sources}
    assert {name: float(f"{source.tokens_per_row.value:.3g}") for name, source in found.items()} == {
        "dclm": 1_290,
        "fineweb-edu": 1_030,
        "dolma": 535,
        "zyda": 660,
        "stack-v2": 13_100,
        "finemath": 1_590,
    }
    in_full = [round(found[name].tokens_per_row.value) for name in ("dclm", "fineweb-edu", "finemath")]
    assert in_full == [1_293, 1_031, 1_588]
    assert {name: round(100 * source.row_share) for name, source in found.items()} == {
        "dclm": 40, "fineweb-edu": 44, "dolma": 3, "zyda": 2, "stack-v2": 10, "finemath": 1,
    }  # fmt: skip
    assert {name: float(f"{100 * source.token_share.value:.2g}") for name, source in found.items()} == {
        "dclm": 22, "fineweb-edu": 20, "dolma": 0.69, "zyda": 0.57, "stack-v2": 56, "finemath": 0.68,
    }  # fmt: skip
    for name, source in found.items():
        assert source.token_share.value == pytest.approx(WEIGHTS[name] * TOKENS_PER_ROW[name] / MEAN, rel=1e-6)


@pytest.mark.parametrize(
    ("target", "passes"),
    [
        (809e9, [0.054, 0.12, 0.023, 0.028, 0.87, 0.16]),
        (5.5e12, [0.37, 0.81, 0.16, 0.19, 5.9, 1.1]),
    ],
)
def test_passes_over_each_source_of_the_published_mixture(target: float, passes: list[float]) -> None:
    """Rows drawn, of rows there: at 809 B tokens no source is read again, at 5.5 T Stack v2 six times."""
    found = {source.name: source.passes.value for source in plan_of_facts(f"target.tokens={round(target)}").sources}
    assert {name: float(f"{value:.2g}") for name, value in found.items()} == dict(zip(ROWS, passes))
    for name, value in found.items():
        assert value == pytest.approx(target / MEAN * WEIGHTS[name] / ROWS[name], rel=1e-6)


def test_the_first_source_to_run_out_is_stack_v2() -> None:
    """After about 932 B tokens of the mix, whatever the target; then FineMath."""
    for target in ("809B", "8K"):
        found = {source.name: source.lasts_tokens.value for source in plan_of_facts(f"target.tokens={target}").sources}
        assert sorted(found, key=found.__getitem__)[:2] == ["stack-v2", "finemath"]
        assert found["stack-v2"] == pytest.approx(40.1e6 / 0.10 * MEAN)
        assert found["finemath"] == pytest.approx(21_405_610 / 0.01 * MEAN)


def test_steps_of_the_published_run() -> None:
    """73,500 steps of 64 x 21 sequences of 8192 are 809 B tokens, and the other way round."""
    batch = parse_tokens("64x21x8192", option="--batch-tokens")
    assert batch == 11_010_048
    assert 73_500 * batch == 809_238_528_000
    mix = plan_of_facts("target.tokens=null", f"target.sequences={73_500 * 64 * 21}")
    run = training(mix, batch_tokens=batch, tokens_per_second=1_000_000, build_mb_per_second=None)
    assert mix.tokens == Estimate(value=809_238_528_000.0)
    assert run.steps is not None
    assert run.steps.value == 73_500
    assert run.train_seconds is not None
    assert run.train_seconds.value == pytest.approx(809_238.528)
    assert run.build_seconds is None
    rounded = training(plan_of_facts(), batch_tokens=batch, tokens_per_second=None, build_mb_per_second=100.0)
    assert rounded.steps is not None
    assert rounded.steps.value == pytest.approx(73_500, rel=0.0004)
    assert rounded.build_seconds is not None
    assert rounded.build_seconds.value == pytest.approx(plan_of_facts().text_bytes.value / 1e8)


def test_epochs_multiply_what_is_trained_on_and_redrawn_ones_what_is_built() -> None:
    """Three epochs of 10 B tokens: three times over the same ones, or 30 B other ones."""
    again = plan_of_facts("target.tokens=10B", "epochs.count=3")
    assert (again.tokens.value, again.trained_tokens.value) == (10e9, 30e9)
    redrawn = plan_of_facts("target.tokens=10B", "epochs.count=3", "epochs.mode=redraw")
    assert (redrawn.tokens.value, redrawn.trained_tokens.value) == (30e9, 30e9)


def test_an_uncertain_number_of_rows_is_shown_where_it_matters() -> None:
    """More rows in Stack v2 would be shorter ones: its passes at a number of tokens are surer than its rows."""
    mix = plan_of_facts()
    stack = next(source for source in mix.sources if source.name == "stack-v2")
    low, high = stack.rows_available.interval
    assert (low, high) == pytest.approx((40.1e6 / 1.1, 40.1e6 * 1.1))
    assert stack.tokens_per_row.reach > stack.rows_available.reach > 0.09
    assert stack.passes.reach < stack.tokens_per_row.reach * 0.6
    assert [note.split(":")[0] for note in stack.notes] == ["stack-v2", "stack-v2"]
    assert "rows is not confirmed" in stack.notes[0]


def test_all_sources_once_ends_with_the_first_that_runs_out() -> None:
    """`stop` without a target: as many draws as stack-v2 has rows for; its rows are not sure, so all is not."""
    mix = plan_of_facts("target=null", "when_exhausted=stop")
    assert mix.ended_by == "stack-v2"
    assert next(source for source in mix.sources if source.name == "stack-v2").passes.interval == (1.0, 1.0)
    assert mix.tokens.value == pytest.approx(40.1e6 / 0.10 * MEAN, rel=1e-6)
    low, high = mix.rows.interval
    assert (low, high) == pytest.approx((401e6 / 1.1, 401e6 * 1.1), rel=1e-6)


def test_a_target_in_passes_is_met_by_its_source() -> None:
    """Twice over FineMath, whose rows are known to the last one."""
    mix = plan_of_facts("target.tokens=null", "target.passes.finemath=2")
    passes = {source.name: source.passes.value for source in mix.sources}
    assert (passes["finemath"], mix.ended_by) == (2.0, None)
    assert mix.rows.interval == pytest.approx((mix.rows.value, mix.rows.value))
    assert mix.rows.value == pytest.approx(2 * 21_405_610 / 0.01, rel=1e-6)


def test_a_target_in_rows_is_exact_in_rows() -> None:
    """And its tokens are not."""
    mix = plan_of_facts("target.tokens=null", "target.rows=1000")
    assert [round(source.rows.value) for source in mix.sources] == [400, 440, 30, 20, 100, 10]
    assert mix.tokens.reach > 0.05
    assert mix.tokens.value == pytest.approx(1000 * MEAN, rel=1e-6)


def test_a_target_that_cannot_be_met_is_an_error_of_the_recipe() -> None:
    """As it would be for the build."""
    with pytest.raises(RecipeError, match="stack-v2 runs out first"):
        plan_of_facts("target.tokens=5.5T", "when_exhausted=error")


# Which facts are whose.

HUB = "hf://datasets/Zyphra/Zyda-2@main/data"
SAMPLE = "hf://datasets/Zyphra/Zyda-2@main/sample/100BT"
BASELINE = "hf://datasets/mlfoundations/dclm-baseline-1.0@main"
DOLMA = "https://olmo-data.org/dolma-v1_7"


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("mine", {"path": f"{HUB}/dclm_crossdeduped/*/*.parquet"}, "dclm"),
        ("mine", {"path": f"{HUB}/zyda_crossdeduped-filtered /*/*.parquet"}, "zyda"),
        ("mine", {"path": "hf://datasets/Zyphra/Zyda-2@refs%2Fpr%2F1/data/fwe3/**"}, "fineweb-edu"),
        ("mine", {"path": "hf://datasets/HuggingFaceTB/finemath/finemath-3plus/*.parquet"}, "finemath"),
        ("mine", {"hub": "Zyphra/Zyda-2@main", "config": "fwe3"}, "fineweb-edu"),
        ("dclm", {"path": f"{SAMPLE}/dclm_crossdeduped/*.parquet"}, "zyda2-100bt-dclm"),
        ("dolma", {"path": f"{SAMPLE}/dolma_cc-crossdeduped-filtered/*.parquet"}, "zyda2-100bt-dolma"),
        ("mine", {"path": "hf://datasets/HuggingFaceFW/fineweb-edu/data/*/*.parquet"}, "fineweb-edu-original"),
        ("mine", {"path": "hf://datasets/HuggingFaceFW/fineweb-edu/data/CC-MAIN-2024-10/*.parquet"}, None),
        ("mine", {"path": f"{BASELINE}/global-shard_01_of_10/local-shard_[01]_of_10/*.zst"}, "dclm-baseline-fiftieth"),
        ("mine", {"path": f"{BASELINE}/global-shard_02_of_10/local-shard_[01]_of_10/*.zst"}, None),
        ("dolma", {"path": [f"{DOLMA}/wiki/wiki-0000.json.gz"]}, None),
        ("stack-v2", {"path": "data/stack-v2/*.parquet"}, "stack-v2"),
        ("stack", {"path": ["a.parquet", "b.parquet"]}, "stack-v2"),
        ("dclm", {"path": "hf://datasets/mlfoundations/dclm-baseline-1.0/*.zst"}, None),
        ("dclm", {"path": "https://example.org/dclm.parquet"}, None),
        ("dclm", {"path": f"{HUB}/dclm_crossdeduped/0/*.parquet"}, None),
        ("dclm", {"path": [f"{HUB}/dclm_crossdeduped/*/*.parquet", f"{HUB}/fwe3/*/*.parquet"]}, None),
        ("finemath", {"hub": "HuggingFaceTB/finemath", "config": "finemath-4plus"}, None),
        ("other", {"path": "data/*.parquet"}, None),
    ],
)
def test_an_address_counts_more_than_a_name(name: str, source: dict[str, Any], expected: str | None) -> None:
    """All files of a data set on the hub, its config, or a name whose files are local; never a part of it."""
    text = {"target": {"rows": 1}, "sources": {name: {"weight": 1, **source}}}
    recipe = parse_recipe(text, where="test", default_name="t")
    assert facts_of(name, recipe.sources[name], load_facts(PACKAGED)) == expected


def test_every_published_recipe_of_remote_sources_has_facts() -> None:
    """And what is not confirmed is said: most of what is known of the originals."""
    facts = load_facts(PACKAGED)
    for name, dolma in (("zyda2-100bt", "zyda2-100bt-dolma"), ("dclm-fineweb-originals", "dolma-books-wiki")):
        recipe = load_recipe(ZYDA2.parent / f"{name}.yaml")
        assert facts_of("dolma", recipe.sources["dolma"], facts) == dolma
        mix = forecast(recipe, profiles_of_facts(recipe, facts))
        assert all("not confirmed" in " ".join(source.notes) for source in mix.sources)


def test_the_facts_of_the_sample_agree_with_those_of_the_whole() -> None:
    """Its rows are of the same documents, so a mean row is the same; its rows are 91.2 M, its tokens 100 B."""
    facts = load_facts(PACKAGED)
    sample = {name: facts[f"zyda2-100bt-{name}"] for name in ("dclm", "fineweb-edu", "dolma", "zyda")}
    for name, fact in sample.items():
        assert fact.tokens_per_row == pytest.approx(facts[name].tokens_per_row, rel=0.01)
    assert sum(fact.rows.value for fact in sample.values()) == pytest.approx(91.2e6, rel=1e-3)
    assert sum(fact.tokens.value for fact in sample.values()) == pytest.approx(100e9, rel=1e-3)


def test_a_source_without_facts_is_an_error_that_lists_what_is_known() -> None:
    """Every one of them at once."""
    text = {"target": {"rows": 1}, "sources": {name: {"weight": 1, "path": "x.jsonl"} for name in ("a", "dclm", "b")}}
    recipe = parse_recipe(text, where="test", default_name="t")
    with pytest.raises(UsageError, match="no facts about a and b; there are facts about dclm") as caught:
        profiles_of_facts(recipe, load_facts(PACKAGED))
    assert "finemath (HuggingFaceTB/finemath)" in caught.value.message
    assert "leave out --facts" in (caught.value.hint or "")


def test_where_is_not_in_the_facts_and_that_is_said() -> None:
    """They are about all rows."""
    recipe = load_recipe(ZYDA2, ["sources.dclm.where=language_score > 0.9"])
    found = {profile.name: profile.notes for profile in profiles_of_facts(recipe, load_facts(PACKAGED))}
    assert found["dclm"] == ("dclm: the facts are about all of its rows, and `where` keeps fewer",)


FACT = """\
about: a web crawl
repository: org/crawl
names: [crawl]
rows: {value: 1K, within: 0.01, from: me}
tokens: {value: 5K, within: 0.01, from: me}
tokenizer: llama3
bytes_per_token: {value: 4, within: 0.1, from: me}
hub_size: {value: 1GB, within: 0.1, from: me}
"""


def test_facts_of_the_users_own_are_added(tmp_path: Path) -> None:
    """Counted with the recipe's tokenizer they are as sure as they say."""
    (tmp_path / "crawl.yaml").write_text(FACT)
    facts = load_facts(PACKAGED, tmp_path)
    assert set(facts) == {"crawl", *load_facts(PACKAGED)}
    text = {"target": {"rows": 10}, "sources": {"crawl": {"weight": 1, "path": "x.jsonl"}}}
    (profile,) = profiles_of_facts(parse_recipe(text, where="test", default_name="t"), facts)
    assert profile.tokens_per_row.value == 5.0
    assert profile.tokens_per_row.interval == pytest.approx((5 / 1.01 ** math.sqrt(2), 5 * 1.01 ** math.sqrt(2)))
    assert profile.basis == "facts/crawl.yaml: a web crawl: 1,000 rows, 5,000 tokens of llama3"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("rows: {value: 1K", "rows: {value: 1Q"), r"crawl\.yaml: rows\.value: '1Q' is not a size"),
        (("within: 0.01", "within: 1.5"), r"crawl\.yaml: rows\.within: must be less than 1, not 1.5"),
        (("about: a web crawl\n", ""), r"crawl\.yaml: about: is missing"),
        (("names:", "nmaes:"), r"crawl\.yaml: nmaes: is not a key of a file of facts"),
        (("names: [crawl]", "about: twice"), "appears twice"),
        ((FACT, "- a list"), r"crawl\.yaml: must be a mapping, not a list"),
        ((FACT, "a: [b"), "expected"),
    ],
)
def test_a_wrong_file_of_facts_is_named_with_its_key(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    """Whatever is wrong with it."""
    (tmp_path / "crawl.yaml").write_text(FACT.replace(*change, 1))
    with pytest.raises(RecipeError, match=words):
        load_facts(tmp_path)


# Weights that match, and the words of the command line.


def test_weights_that_match_give_the_shares_of_tokens() -> None:
    """The published weights as shares of tokens: with the weights printed, the forecast has these shares."""
    assert matching_row_weights({"a": 1, "b": 1}, [1.0, 3.0]) == {"a": 75.0, "b": 25.0}
    weights = matching_row_weights(
        {name: 100 * share for name, share in WEIGHTS.items()}, list(TOKENS_PER_ROW.values())
    )
    mix = plan_of_facts(*(f"sources.{name}.weight={weight}" for name, weight in weights.items()))
    for source in mix.sources:
        assert source.token_share.value == pytest.approx(WEIGHTS[source.name], rel=1e-3)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(0.1, 1e6)), min_size=1, max_size=20))
def test_matching_weights_are_weights_that_a_recipe_takes(sources: list[tuple[float, float]]) -> None:
    """Positive, and with so few digits that their draws repeat in time."""
    weights = {f"s{number}": weight for number, (weight, _) in enumerate(sources)}
    found = matching_row_weights(weights, [tokens for _, tokens in sources])
    text = {"sources": {name: {"weight": weight, "path": "x.jsonl"} for name, weight in found.items()}}
    recipe = parse_recipe({**text, "target": {"rows": 1000}}, where="test", default_name="t")
    mix = forecast(recipe, [flat(name, tokens) for name, (_, tokens) in zip(found, sources)])
    assert sum(source.token_share.value for source in mix.sources) == pytest.approx(1)


def flat(name: str, tokens_per_row: float) -> SourceProfile:
    """A source of 1,000 rows, all alike."""
    return SourceProfile(
        name=name,
        num_rows=Estimate(value=1000.0),
        tokens_per_row=Estimate(value=tokens_per_row),
        row_deviation=0.0,
        degrees_of_freedom=math.inf,
        bytes_per_token=Estimate(value=4.0),
        basis="",
    )


@pytest.mark.parametrize("text", ["", "x", "64x", "11Q", "-3", "0", "2x0"])
def test_a_batch_that_is_none_is_wrong_usage(text: str) -> None:
    """A size, or sizes and x between them."""
    with pytest.raises(UsageError) as caught:
        parse_tokens(text, option="--batch-tokens")
    assert (caught.value.where, caught.value.hint) == ("--batch-tokens", "such as 11M or 64x21x8192")


# The plan against the build.


@pytest.fixture(scope="session")
def llama3(workshop: Workshop) -> Tokenizer:
    return load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)


def surveyed(workshop: Workshop, recipe: Recipe, tokenizer: Tokenizer) -> Survey:
    return survey(recipe, tokenizer, root=workshop.root, cache=PinCache(workshop.cache_dir))


def profiles_in(workshop: Workshop, recipe: Recipe, tokenizer: Tokenizer) -> tuple[Recipe, list[SourceProfile]]:
    found = surveyed(workshop, recipe, tokenizer)
    return found.recipe, profiles_of_sources(found)


@pytest.mark.parametrize("weights", ["rows", "tokens"])
def test_the_build_lands_within_the_intervals_of_the_plan(
    workshop: Workshop, llama3: Tokenizer, tmp_path: Path, weights: str
) -> None:
    """Of 30 shares of tokens in five builds nearly all."""
    held = 0
    for seed in range(5):
        recipe = workshop.recipe(seed=seed, weights=weights, target={"tokens": 9_000})
        mix = forecast(*profiles_in(workshop, recipe, llama3))
        manifest = workshop.build(tmp_path / str(seed), recipe)
        built = zip(manifest.source_names, manifest.source_counts, manifest.stages[0].sources, strict=True)
        for source, (name, counts, entry) in zip(mix.sources, built, strict=True):
            assert source.name == name
            assert source.rows_available == Estimate(value=float(sum(entry.pass_rows)))
            low, high = source.token_share.share_interval
            held += low <= counts.tokens / manifest.totals.tokens <= high
    assert held >= 27


def test_the_plan_of_a_number_of_rows_is_the_build(workshop: Workshop, llama3: Tokenizer, tmp_path: Path) -> None:
    """Whole passes: rows, passes and, since all rows were sampled, tokens are those of the build, to the last one."""
    only = {"edu": {"weight": 3, "path": "edu/*.parquet"}, "maths": {"weight": 1, "path": "maths/*.parquet"}}
    only["maths"]["text"] = "body"
    recipe = workshop.recipe(sources=only, target={"passes": {"maths": 7}})
    mix = forecast(*profiles_in(workshop, recipe, llama3))
    manifest = workshop.build(tmp_path / "out", recipe)
    assert [source.rows.value for source in mix.sources] == [counts.rows for counts in manifest.source_counts]
    assert [source.passes.value for source in mix.sources] == passes(manifest)
    maths = mix.sources[1]
    assert maths.tokens.interval == (maths.tokens.value, maths.tokens.value)
    assert maths.tokens.value == pytest.approx(manifest.source_counts[1].tokens)


def test_weights_in_tokens_are_planned_as_they_are_built(workshop: Workshop, llama3: Tokenizer) -> None:
    """The same sample, so the same integer weights."""
    recipe = workshop.recipe(weights="tokens")
    plan = make_plan(surveyed(workshop, recipe, llama3))
    mix = forecast(*profiles_in(workshop, recipe, llama3))
    weights = [source.weight for source in plan.stage.sources]
    asked = [source.weight for source in plan.recipe.sources.values()]
    for source, weight, share in zip(mix.sources, weights, asked):
        assert source.row_share == pytest.approx(weight / sum(weights), abs=1 / mix.rows.value)
        assert source.share_asked == share / math.fsum(asked)
