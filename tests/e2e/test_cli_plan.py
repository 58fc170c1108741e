"""`mixer plan` from outside: before a build, without one, and without any source."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from remote_kit import on_s3
from workshop import contents

from mixer.cli.main import run
from mixer.report.tables import summarise
from mixer.survey.published import PACKAGED

REPOSITORY = Path(__file__).parents[2]
ZYDA2 = REPOSITORY / "recipes" / "llama3-8b-zyda2.yaml"
FACTS = ["plan", str(ZYDA2), "--facts"]


def planned(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a plan says to programs."""
    assert run(["plan", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_plan_of_the_sample_is_what_its_build_holds(cli, project, manifest, capsys):
    """Tokens as asked, sizes nearly, and the shares of the tokens within their intervals, or near them."""
    found = planned(capsys, project / "recipes" / "sample.yaml", "--set", "target.tokens=300K")
    built = {row.name: row for row in summarise(manifest).sources}
    assert found["tokens"] == {"value": 300_000, "low": 300_000, "high": 300_000}
    assert found["shard_bytes"]["value"] == pytest.approx(sum(shard.file.bytes for shard in manifest.shards), rel=0.06)
    # Most of it are some dozen repositories of whatever packages are installed: bytes a token differ by a third.
    assert found["text_bytes"]["value"] == pytest.approx(manifest.totals.text_bytes, rel=0.35)
    held = 0
    for source in found["sources"]:
        actual, share = built[source["name"]], source["token_share"]
        assert source["rows_available"]["value"] == actual.rows_available
        assert source["row_share"] == pytest.approx(actual.row_share, abs=2 / found["rows"]["value"])
        held += share["low"] <= actual.token_share <= share["high"]
        # The documents of the sample are those of the packages that are installed: no two machines have the same.
        assert share["low"] / 2 <= actual.token_share <= 2 * share["high"]
    assert held >= 4


def test_a_plan_writes_nothing_beside_the_recipe(cli, project):
    """No folder of a build, no manifest; the same words each time, and neither colours nor escapes in a pipe."""
    before = contents(project)
    first = cli("plan", "recipes/sample.yaml", "--set", "target.tokens=300K", cwd=project)
    again = cli("plan", "recipes/sample.yaml", "--set", "target.tokens=300K", cwd=project)
    assert first.returncode == 0, first.stderr
    # A busy machine takes so long to pin the sources that it is told about.
    assert [line for line in first.stderr.splitlines() if " files pinned" not in line] == []
    assert first.stdout == again.stdout
    assert contents(project) == before
    assert "\x1b" not in first.stdout
    assert "! stack-v2 is " in first.stdout
    assert "stack-v2: a sample of " in first.stdout
    assert "first to run out: " in first.stdout


def test_the_published_mixture_is_planned_without_any_source(capsys):
    """From facts alone: the sentence that its author may not know, the run's steps, and where each figure is from."""
    arguments = ["--batch-tokens", "64x21x8192", "--tokens-per-second", "800K", "--build-mb-per-second", "170"]
    assert run([*FACTS, *arguments]) == 0
    words = capsys.readouterr().out
    assert "! stack-v2 is 10.0 % of the rows and about 56.3 % (51.6 to 60.9 %) of the tokens: a row of it is" in words
    assert "809B tokens in 98.8M sequences of 8,192 (llama3, concat)" in words
    assert "73,479 steps of 11,010,048; 11.7 days at 800K tokens/s" in words
    assert "3.25 TB on disk" in words
    assert "5.2 hours to build at 170 MB/s" in words
    assert "first to run out: stack-v2 after about 932B" in words
    assert "stack-v2: the figure of its rows is not confirmed" in words
    assert "dclm: facts/dclm.yaml: " in words


def test_the_table_of_facts_fits_into_a_hundred_columns(capsys):
    """With its intervals; the basis of the figures may be longer."""
    assert run(FACTS) == 0
    table = capsys.readouterr().out.split("\n\n809B")[0].splitlines()
    assert len(table) == 11
    assert max(map(len, table)) <= 100
    stack = next(line for line in table if line.startswith("stack-v2"))
    assert " ".join(stack.split()) == "stack-v2 10 34.8M 40.1M? 0.87 10.00 % 456B 56.30 % 51.6-60.9 % 13,092 ±18 %"


def test_the_page_shows_what_the_command_prints(capsys):
    """The table and the totals of docs/plan.md."""
    assert run(FACTS) == 0
    table_and_totals = "\n\n".join(capsys.readouterr().out.split("\n\n")[:3])
    assert table_and_totals in (REPOSITORY / "docs" / "plan.md").read_text()


def test_facts_need_neither_tokenizer_nor_source(cli_environment):
    """The libraries that read and tokenize are not even imported."""
    blocked = ("pyarrow", "gigatoken", "tokenizers", "tiktoken", "awkward", "zstandard")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked}));"
    code += f"from mixer.cli.main import run; sys.exit(run({[*FACTS, '--json']}))"
    done = subprocess.run([sys.executable, "-c", code], env=cli_environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["tokens"]["value"] == 809e9


def test_matching_weights_are_printed_as_they_go_into_a_recipe(capsys, tmp_path):
    """A recipe that extends the other with what was printed has the shares of tokens that the other's weights say."""
    assert run([*FACTS, "--match", "tokens"]) == 0
    layer = capsys.readouterr().out.split("\n\n")[-1]
    assert layer.startswith("weights: rows\nsources:\n  dclm: {weight: ")
    matched = tmp_path / "matched.yaml"
    matched.write_text(f"extends: {ZYDA2}\n{layer}")
    found = planned(capsys, matched, "--facts")
    shares = {source["name"]: round(100 * source["token_share"]["value"], 1) for source in found["sources"]}
    assert shares == {"dclm": 40, "fineweb-edu": 44, "dolma": 3, "zyda": 2, "stack-v2": 10, "finemath": 1}
    weights = planned(capsys, ZYDA2, "--facts", "--match", "tokens")["row_weights_for_tokens"]
    assert sum(weights.values()) == pytest.approx(100, abs=0.01)


def test_facts_beside_the_recipe_replace_the_packages(tmp_path, capsys):
    """`manifests/facts` beside a folder `recipes` is the user's own."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "manifests" / "facts").mkdir(parents=True)
    shutil.copy(ZYDA2, tmp_path / "recipes")
    own = (REPOSITORY / "manifests" / "facts" / "stack-v2.yaml").read_text().replace("40.1M", "80.2M")
    (tmp_path / "manifests" / "facts" / "stack-v2.yaml").write_text(own)
    found = planned(capsys, tmp_path / "recipes" / ZYDA2.name, "--facts")
    stack = next(source for source in found["sources"] if source["name"] == "stack-v2")
    assert stack["rows_available"]["value"] == 80_200_000


def test_update_pins_a_bucket_anew_and_says_what_differs(capsys, workshop, tmp_path):
    """A plan of changed files is refused; with --update it is made, and the next one needs no more."""
    with on_s3(workshop, tmp_path) as remote:
        recipe = tmp_path / "r.yaml"
        recipe.write_text(
            f"target: {{rows: 20}}\nsources: {{edu: {{weight: 1, path: {remote.prefix}/edu/*.parquet}},"
            f" maths: {{weight: 1, path: {remote.root}/maths/*.parquet, text: body}}}}\n"
        )
        told = planned(capsys, recipe, "--update")["updated"]
        assert told == {"edu": "pinned for the first time: 80 rows in 2 files"}
        (remote.root / "edu" / "part.10.parquet").unlink()
        assert run(["plan", str(recipe)]) == 1
        assert "--update" in capsys.readouterr().err
        assert run(["plan", str(recipe), "--update"]) == 0
        assert capsys.readouterr().err == "edu: 1 removed ('part.10.parquet'), 80 rows became 40\n"
        found = planned(capsys, recipe)
        assert [source["rows_available"]["value"] for source in found["sources"]] == [40, 11]


def test_the_packages_facts_are_those_of_the_project():
    """One copy, found from the code."""
    kept = sorted(path.name for path in (REPOSITORY / "manifests" / "facts").glob("*.yaml"))
    assert sorted(path.name for path in PACKAGED.glob("*.yaml")) == kept
    assert len(kept) == 13


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.yaml", "--facts"], 2, "give the path of a recipe"),
        ([ZYDA2, "--facts", "--set", "sources.dclm.path=https://example.org/x.parquet"], 2, "no facts about dclm"),
        ([ZYDA2, "--facts", "--batch-tokens", "many"], 2, "'many' is not a size"),
        ([ZYDA2, "--facts", "--match", "bytes"], 2, "bytes"),
        ([ZYDA2, "--facts", "--set", "target.tokens=5.5T", "--set", "max_passes=1"], 2, "stack-v2 runs out first"),
        ([ZYDA2, "--facts", "--update"], 2, "nothing to pin"),
        (["--facts"], 2, "RECIPE"),
    ],
)
def test_what_cannot_be_planned_is_one_error(capsys, arguments, code, words):
    """With a hint, and an exit code that says whose turn it is."""
    assert run(["plan", *map(str, arguments)]) == code
    error = capsys.readouterr().err
    assert words in error
    assert "hint: " in error
