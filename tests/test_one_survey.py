"""`mixer plan`, the build's header, its progress and its manifest go by one sample, and say how sure it is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workshop import BATCH_TOKENS, SOURCES, Workshop, write_mixture

from mixer.plan.forecast import forecast
from mixer.plan.plan import Plan, make_plan
from mixer.report.progress import BuildProgress
from mixer.sources.pin_cache import PinCache
from mixer.survey import measure
from mixer.survey.profiles import profiles_of_sources
from mixer.survey.survey import survey
from mixer.tokens.tokenizer import load_tokenizer

MORE = {"long": {"weight": 30, "path": "long/*.parquet"}, "maths": SOURCES["maths"] | {"weight": 7}}


@pytest.fixture(scope="module")
def large_mixture(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The tiny mixture, and a source of so many rows that a sample is measured: its mean may be off."""
    root = write_mixture(tmp_path_factory.mktemp("large") / "data")
    chance = random.Random(3)
    texts = [" ".join(["word"] * chance.randint(1, 20)) for _ in range(6000)]
    (root / "long").mkdir()
    pq.write_table(pa.table({"text": texts}), root / "long/0.parquet", row_group_size=500)
    return Workshop(root=root, cache_dir=workshop.cache_dir)


@pytest.mark.parametrize("weights", ["rows", "tokens"])
@pytest.mark.parametrize("target", [{"passes": {"maths": 3}}, {"rows": 700}, {"tokens": 20_000}])
def test_all_totals_are_one_total(
    large_mixture: Workshop,
    tmp_path: Path,
    target: dict[str, Any],
    weights: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The plan's tokens are those of the header and the progress; the means are those that the manifest keeps.

    The header says how far an estimate may be off, and that of a target in tokens is none.
    """
    recipe = large_mixture.recipe(target=target, weights=weights, task_tokens="64Ki", sources=SOURCES | MORE)
    tokenizer = load_tokenizer("llama3", root=large_mixture.root, cache_dir=large_mixture.cache_dir)
    surveyed = survey(recipe, tokenizer, root=large_mixture.root, cache=PinCache(tmp_path / "cache"))
    mix = forecast(surveyed.recipe, profiles_of_sources(surveyed))
    plans: list[Plan] = []
    progress = BuildProgress(quiet=False)

    def on_plan(plan: Plan) -> None:
        plans.append(plan)
        progress.on_plan(plan)

    manifest = large_mixture.build(tmp_path / "out", recipe, on_plan=on_plan)
    (plan,) = plans
    assert plan.id == make_plan(surveyed, batch_tokens=BATCH_TOKENS).id
    assert plan.expected_tokens == pytest.approx(mix.tokens.value, rel=1e-9)
    means = manifest.hints["measured_tokens_per_row"]
    assert means == {name: one.tokens_per_row for name, one in surveyed.measured.items()}
    assert {source.name: source.tokens_per_row.value for source in mix.sources} == pytest.approx(means, rel=1e-9)
    low, high = mix.tokens.interval
    assert ("±" in capsys.readouterr().err) is ("tokens" not in target)
    if "tokens" not in target:
        assert low <= manifest.totals.tokens <= high


def test_a_build_after_its_plan_does_not_measure_again(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement is kept, and is another one for another seed, tokenizer or `where`."""
    calls: list[str] = []
    measured = measure._measured

    def counting(sample: Any, *arguments: Any) -> Any:
        calls.append(sample.name)
        return measured(sample, *arguments)

    monkeypatch.setattr(measure, "_measured", counting)
    tokenizer = load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)

    def look(**changes: Any) -> dict[str, float]:
        recipe = workshop.recipe(**changes)
        found = survey(recipe, tokenizer, root=workshop.root, cache=PinCache(tmp_path / "cache"))
        return {name: one.tokens_per_row for name, one in found.measured.items()}

    first = look()
    assert sorted(calls) == sorted(first)
    assert look() == first
    assert len(calls) == 6
    look(seed=2)
    assert len(calls) == 12


def test_a_damaged_measurement_is_made_again(workshop: Workshop, tmp_path: Path) -> None:
    """Weights in tokens are made from it: a flipped digit must not become another mix."""
    tokenizer = load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)
    recipe = workshop.recipe(weights="tokens")

    def look() -> str:
        cache = PinCache(tmp_path / "cache")
        return make_plan(survey(recipe, tokenizer, root=workshop.root, cache=cache)).id

    before = look()
    for path in (tmp_path / "cache/measured").iterdir():
        path.write_text(path.read_text().replace("1", "2"))
    assert look() == before
