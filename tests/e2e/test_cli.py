"""The command line from outside: what goes to stdout, what to stderr, and the exit codes."""

from __future__ import annotations

import json
import os
import pty
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mixer.building.build import copy_name
from mixer.cli.main import run
from mixer.cli.options import cache_dir
from mixer.errors import UsageError
from mixer.recipe import recipe_schema
from mixer.shards.manifest import load_manifest, prefix_of, publish_manifest

VERBS = [
    "init",
    "head",
    "sample",
    "fetch",
    "attach",
    "curate",
    "plan",
    "build",
    "status",
    "inspect",
    "verify",
    "repair",
    "show",
    "trace",
    "export",
    "schema",
    "cache",
]
SOURCES = ["dclm", "fineweb-edu", "dolma", "zyda", "stack-v2", "finemath"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_importing_the_command_line_imports_nothing_heavy(cli_environment):
    """`mixer --help` stays fast: the libraries are imported when a verb needs them."""
    heavy = "{'pyarrow', 'numpy', 'pydantic', 'rich', 'gigatoken', 'tokenizers', 'tiktoken', 'yaml', 'awkward'}"
    code = f"import sys, mixer.cli.main; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], env=cli_environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_lists_every_verb(cli):
    """`--help`, and no argument at all, list the verbs on stdout and are fine."""
    asked, bare = cli("--help"), cli()
    assert asked.returncode == bare.returncode == 0
    assert asked.stdout == bare.stdout
    assert [verb for verb in VERBS if f"\n  {verb} " in asked.stdout] == VERBS
    assert "..." not in asked.stdout.split("Commands:")[1]


def test_every_verb_has_help_and_json(capsys):
    """`--json` is everywhere."""
    for verb in VERBS:
        assert run([verb, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "--json" in shown or "Commands:" in shown  # a group: its commands have it


def test_version_is_the_packages(capsys):
    """`--version` prints one line."""
    from mixer import __version__

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"mixer {__version__}\n"


def test_sample_reports_what_it_made(project, capsys):
    """`sample --json` gives rows and bytes per source; a second call finds the sample there."""
    assert run(["sample", str(project / "sample"), "--size", "2MB", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["sources"]) == SOURCES
    assert report["text_bytes"] == sum(source["text_bytes"] for source in report["sources"].values())


def test_schema_is_the_recipes_schema(capsys):
    """`schema` prints the JSON schema, with or without `--json`."""
    assert run(["schema"]) == 0
    plain = capsys.readouterr().out
    assert run(["schema", "--json"]) == 0
    assert capsys.readouterr().out == plain
    assert json.loads(plain) == recipe_schema()


def test_build_prints_the_table_and_says_where_it_lies(first_build, project, manifest):
    """Data go to stdout without a colour or an escape, words and progress to stderr."""
    lines = first_build.stdout.splitlines()
    largest_first = ["fineweb-edu", "dclm", "stack-v2", "dolma", "zyda", "finemath"]
    assert [line.split()[0] for line in lines[3:9]] == largest_first
    assert "! stack-v2 is " in first_build.stdout
    assert "\x1b" not in first_build.stdout + first_build.stderr
    # A busy machine takes so long to pin the sources that it is told about.
    words = [line for line in first_build.stderr.splitlines() if " pinned, " not in line]
    assert words[0] == "sample: 6 sources, about 300K tokens in 1 task"
    assert words[1].startswith("100.0 % · 300K of 300K tokens · ")
    assert words[2] == f"built: out/sample, with a copy of its manifest in {project}/manifests/{copy_name(manifest)}"


def test_build_copies_the_manifest_beside_recipes(built, project, manifest):
    """The manifest is in the build and, byte for byte, in `manifests/`, under the build's name and id."""
    copied = project / "manifests" / f"sample-{manifest.id[:12]}.json"
    assert copied.read_bytes() == (built / "manifest.json").read_bytes()


def test_building_again_finds_the_build_there(cli, project, built, manifest):
    """The same command on a finished build checks it, changes nothing and gives the same id."""
    before = (built / "manifest.json").read_bytes()
    done = cli("build", "recipes/sample.yaml", "--set", "target.tokens=300K", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == manifest.id
    assert (built / "manifest.json").read_bytes() == before


def test_build_takes_every_place_as_told(cli, cli_environment, project, tmp_path, manifest):
    """-o, --root, --cache and --manifests lead elsewhere, --quiet says nothing, and the id is the same."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: sample\n" + (project / "recipes" / "sample.yaml").read_text())
    out, copies, cache = tmp_path / "o", tmp_path / "m", tmp_path / "c"
    shutil.copytree(Path(cli_environment["MIXER_CACHE"]) / "tokenizers", cache / "tokenizers")  # slow to make
    options = ["-o", out, "--root", project / "recipes", "--cache", cache, "--manifests", copies, "--quiet"]
    done = cli("build", recipe, *options, "--workers", 1, "--set", "target.tokens=300K", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_manifest(copies / copy_name(manifest)).id == manifest.id
    assert (out / "manifest.json").read_bytes() == (copies / copy_name(manifest)).read_bytes()
    assert any((cache / "pins").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"o", "m", "c", "mine.yaml"}


def test_inspect_agrees_with_the_manifest(built, manifest, capsys):
    """`inspect --json` gives the manifest's numbers, from the folder and from the file."""
    assert run(["inspect", str(built), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert run(["inspect", str(built / "manifest.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert found["id"] == manifest.id
    tokens = {name: counts.tokens for name, counts in zip(manifest.source_names, manifest.source_counts)}
    assert {source["name"]: source["tokens"] for source in found["sources"]} == tokens
    assert any("stack-v2 is" in note for note in found["notes"])


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_inspect_fits_the_terminal(built, cli_environment, columns):
    """On a terminal no line is wider than the window, and no number is cut."""
    output = in_terminal(["inspect", str(built)], cli_environment | {"COLUMNS": str(columns)})
    lines = ESCAPES.sub("", output).splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in output


def test_a_narrow_terminal_names_the_columns_it_leaves_out(built, cli_environment):
    """One line says which; `--wide` shows them all, and the line is gone."""
    narrow = cli_environment | {"COLUMNS": "70"}
    lines = ESCAPES.sub("", in_terminal(["inspect", str(built)], narrow)).splitlines()
    (line,) = [one for one in lines if one.startswith("columns left out: ")]
    assert line == "columns left out: bytes/token, docs cut; --wide shows them"
    wide = ESCAPES.sub("", in_terminal(["inspect", str(built), "--wide"], narrow))
    assert "columns left out" not in wide
    assert " ".join(wide.splitlines()[1].split()) == "source weight rows asked got tokens got /row /token passes cut"


def test_build_in_a_terminal_cleans_up_its_live_view(project, cli_environment, tmp_path):
    """The live view hides the cursor and gives it back; one line of it stays."""
    arguments = ["build", str(project / "recipes" / "sample.yaml"), "-o", str(tmp_path / "o")]
    arguments += ["--manifests", str(tmp_path), "--set", "target.tokens=200K"]
    output = in_terminal(arguments, cli_environment)
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    assert "100.0 % · 200K of 200K tokens" in output[output.rindex("\x1b[?25h") :]


def test_verify_is_fine_with_a_fresh_build(built, capsys):
    """A build as it was made is fine: exit 0, and the counts."""
    assert run(["verify", str(built)]) == 0
    assert re.fullmatch(r"fine: 1 shard, 37 sequences, 303,104 tokens, in \d+\.\d s\n", capsys.readouterr().out)
    assert run(["verify", str(built), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["damage"] == []


def test_verify_names_the_damaged_shard_and_batch(copied, capsys):
    """One changed byte is found: exit 1, the shard and the record batch on stdout."""
    flip_bit(copied / "shards" / "00000.arrow", 400_003)
    assert run(["verify", str(copied)]) == 1
    captured = capsys.readouterr()
    assert f"{copied}/shards/00000.arrow: record batch 0: an id is outside 0..128255\n" in captured.out
    assert "hint: " in captured.err
    assert run(["verify", str(copied), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["fine"] is False
    assert {damage["where"] for damage in report["damage"]} >= {f"{copied}/shards/00000.arrow"}


def test_verify_deep_holds_a_build_against_its_sources(copied, capsys):
    """The build's log leads to the sources; of another text in them the build is not."""
    assert run(["verify", str(copied), "--deep"]) == 0
    assert "encoded again by the reference tokenizer, 1 shard rebuilt" in capsys.readouterr().out
    (copied / "else").mkdir()
    assert run(["verify", str(copied), "--deep", "--root", str(copied / "else"), "--json"]) != 0
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["where"] == "sources.dclm"


def test_verify_deep_asks_for_the_sources(copied, capsys):
    """Without a log, --recipe or --root there is no way to the sources: wrong usage."""
    (copied / "build-log.json").unlink()
    assert run(["verify", str(copied), "--deep"]) == 2
    assert "give --recipe or --root" in capsys.readouterr().err


def test_show_gives_every_token_of_a_sequence(built, manifest, capsys):
    """The segments cover the sequence, name their sources, and their texts are decoded."""
    assert run(["show", str(built), "--sequence", "3", "--json"]) == 0
    sequence = json.loads(capsys.readouterr().out)
    segments = sequence["segments"]
    assert [segment["start"] for segment in segments] == [0, *(segment["stop"] for segment in segments[:-1])]
    assert segments[-1]["stop"] == manifest.sequence.length
    assert {segment["source"] for segment in segments} <= set(SOURCES)
    assert [segment["bos"] for segment in segments[1:]] == [True] * (len(segments) - 1)
    assert all(segment["text"] for segment in segments)


def test_show_shortens_long_texts_unless_full(built, capsys):
    """The text of a long segment is cut in the middle; --full gives all of it."""
    assert run(["show", str(built), "-s", "0"]) == 0
    short = capsys.readouterr().out
    assert run(["show", str(built), "-s", "0", "--full"]) == 0
    full = capsys.readouterr().out
    assert re.search(r"… [\d,]+ characters left out …", short)
    assert "characters left out" not in full
    assert len(full) > len(short)


def test_show_tells_the_range_of_sequences(built, capsys):
    """A sequence that is not there is wrong usage, and the hint says which are."""
    for number in ("37", "-1"):
        assert run(["show", str(built), "--sequence", number]) == 2
        assert "choose one of 0 to 36" in capsys.readouterr().err


def test_show_refuses_another_tokenizer(copied, manifest, capsys):
    """Ids are not decoded with a tokenizer that did not make them."""
    changed = replace(manifest, tokenizer=replace(manifest.tokenizer, fingerprint="0" * 64))
    publish_manifest(copied, replace(changed, prefix_id=prefix_of(changed)))
    assert run(["show", str(copied), "--sequence", "0"]) == 1
    assert f"the build was made with {'0' * 64}" in capsys.readouterr().err


def test_show_obeys_nothing_in_a_text(tmp_path, capsys):
    """Terminal escapes and rich markup in a document are shown, not obeyed."""
    text = "a\x1b[31mb\u202ec [bold]d[/bold] \x07e :smile: <|end_of_text|>\r"
    (tmp_path / "data.jsonl").write_text(json.dumps({"text": text}) + "\n")
    (tmp_path / "r.yaml").write_text("when_exhausted: stop\nsources: {s: {weight: 1, path: data.jsonl}}\n")
    out = str(tmp_path / "out")
    assert run(["build", str(tmp_path / "r.yaml"), "-o", out, "--quiet"]) == 0
    capsys.readouterr()
    assert run(["show", out, "--sequence", "0"]) == 0
    assert r"<BOS>a\x1b[31mb\u202ec [bold]d[/bold] \x07e :smile: <|end_of_text|>\r<EOS>" in capsys.readouterr().out
    assert run(["show", out, "--sequence", "0", "--json"]) == 0
    exact = json.loads(capsys.readouterr().out)
    assert exact["segments"][0]["text"] == text


def test_wrong_usage_is_2(capsys):
    """Unknown verbs and options, and missing arguments: exit 2, the place of help, nothing on stdout."""
    cases = (["frob"], ["build", "--sett", "a=1"], ["build"], ["show", "x"], ["sample", "x", "--size", "much"])
    for arguments in cases:
        assert run(arguments) == 2, arguments
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")


def test_a_wrong_recipe_is_2_and_all_of_it_is_told(tmp_path, capsys):
    """Every mistake of a recipe is in one error, which `--json` makes one line."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("target: {tokens: 1M}\nsources: {a: {weight: -1, path: x.jsonl, txet: t}}\n")
    assert run(["build", str(recipe), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    error = json.loads(line)
    assert error["error"] == "RecipeError"
    assert "weight" in line
    assert "txet" in line


def test_unreadable_data_is_1(tmp_path, capsys):
    """A source that cannot be read is a failure, not wrong usage."""
    (tmp_path / "x.parquet").write_bytes(b"PAR1 but not really")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("target: {tokens: 1M}\nsources: {a: {weight: 1, path: x.parquet}}\n")
    assert run(["build", str(recipe), "-o", str(tmp_path / "o")]) == 1
    assert "sources.a" in capsys.readouterr().err


def test_a_folder_without_a_build_is_1(tmp_path, capsys):
    """No manifest: a failure with a hint."""
    for verb in ("inspect", "verify"):
        assert run([verb, str(tmp_path)]) == 1
        assert "hint: " in capsys.readouterr().err


def test_a_file_that_may_not_be_written_is_1(tmp_path, capsys):
    """What the system refuses is a failure that names the file, not a bug."""
    (tmp_path / "file").write_text("")
    assert run(["sample", str(tmp_path / "file" / "x"), "--size", "1MB"]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_an_unforeseen_error_is_3(monkeypatch, capsys):
    """A bug shows its traceback and says that it is one; with --json all of it is one line."""
    monkeypatch.setattr("mixer.recipe.recipe_schema", lambda: 1 // 0)
    assert run(["schema"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "error: bug in mixer: ZeroDivisionError" in err
    assert run(["schema", "--json"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["error"] == "Bug"
    assert told["traceback"].startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError" in told["traceback"]


def test_an_interrupted_build_is_130_and_goes_on(project, cli_environment, tmp_path):
    """^C ends a build with 130 and no manifest; the same command finishes it from the tasks that were done."""
    arguments = ["build", "recipes/sample.yaml", "-o", str(tmp_path / "o"), "--manifests", str(tmp_path)]
    arguments += ["--set", "target.tokens=25M", "--set", "task_tokens=1Mi", "--workers", "1"]
    command = [sys.executable, "-m", "mixer.cli.main", *arguments]
    stopped = subprocess.Popen(
        command,
        cwd=project,
        env=cli_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any((tmp_path / "o" / "tasks").glob("[!.]*")))
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=60)
    assert (stopped.returncode, out) == (130, "")
    assert err.endswith("error: interrupted\n  hint: run the same command again to resume\n")
    assert not (tmp_path / "o" / "manifest.json").exists()
    again = subprocess.run(command, cwd=project, env=cli_environment, capture_output=True, text=True, check=True)
    assert "from before" in again.stderr


def test_a_build_in_the_background_of_a_shell_leaves_ctrl_c_to_others(project, cli_environment, built, tmp_path):
    """Started with ^C ignored, as by `mixer build ... &` in a script, it goes on: the ^C was meant for another job."""
    arguments = ["build", "recipes/sample.yaml", "-o", str(tmp_path / "o"), "--manifests", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "mixer.cli.main", *arguments, "--set", "target.tokens=300K"],
        cwd=project,
        env=cli_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as background:
        while background.poll() is None:  # at whatever it is doing, workers being forked among it
            background.send_signal(signal.SIGINT)
            time.sleep(0.01)
        assert background.stderr is not None
        assert background.returncode == 0, background.stderr.read()
    assert (tmp_path / "o/manifest.json").read_bytes() == (built / "manifest.json").read_bytes()


def test_a_build_in_the_background_of_a_shell_ends_with_sigterm(project, cli_environment, tmp_path):
    """`kill` ends it as ^C ends others: with 130, and the same command goes on."""
    arguments = ["build", "recipes/sample.yaml", "-o", str(tmp_path / "o"), "--manifests", str(tmp_path)]
    arguments += ["--set", "target.tokens=25M", "--set", "task_tokens=1Mi", "--workers", "1"]
    background = subprocess.Popen(
        [sys.executable, "-m", "mixer.cli.main", *arguments],
        cwd=project,
        env=cli_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    wait_for(lambda: any((tmp_path / "o" / "tasks").glob("[!.]*")))
    background.terminate()
    out, err = background.communicate(timeout=60)
    assert (background.returncode, out) == (130, ""), err
    assert err.endswith("error: interrupted\n  hint: run the same command again to resume\n")


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch):
    """As in a container under a number that no account has: not a bug."""

    def no_account(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "MIXER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_account)
    with pytest.raises(UsageError, match="no home folder for the cache") as refused:
        cache_dir(None)
    assert refused.value.hint == "set MIXER_CACHE, or give --cache DIR"
    assert cache_dir(Path("here")) == Path("here")


def test_a_closed_pipe_is_no_traceback(cli_environment):
    """`mixer schema | head -c 1` ends quietly."""
    command = f"{sys.executable} -m mixer.cli.main schema | head -c 1"
    done = subprocess.run(command, shell=True, env=cli_environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{", "")


def in_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """All that `mixer ARGUMENTS` writes to a terminal, stdout and stderr together."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "mixer.cli.main", *arguments]
    process = subprocess.Popen(command, env=environment, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    pieces = []
    while True:
        try:
            piece = os.read(leader, 1 << 16)
        except OSError:  # the terminal's other side is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(leader)
    assert process.wait(timeout=60) == 0
    return b"".join(pieces).decode()


def flip_bit(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def wait_for(condition) -> None:
    """Wait up to two minutes, for a loaded machine, for something to become true."""
    stop = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.02)
