"""From a user's own files to a training loop, as docs/own-data.md tells it, and what init and head say on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with `data/`: a csv whose text is `body`, and two text files."""
    (tmp_path / "data/notes").mkdir(parents=True)
    (tmp_path / "data/posts.csv").write_text("id,body\n1,one post\n2,\x1b[31mred\n")
    for name in "ab":
        (tmp_path / f"data/notes/{name}.txt").write_text(f"note {name}\nof two lines\n")
    return tmp_path


def test_every_command_of_the_page_runs_and_its_recipe_is_the_one_that_is_written(tmp_path, cli_environment):
    """In the order of the page, in an empty folder."""
    pytest.importorskip("torch")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "mixer").write_text(f'#!/bin/sh\nexec {sys.executable} -m mixer "$@"\n')
    (binaries / "mixer").chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    environment = cli_environment | {"PATH": f"{binaries}:{os.environ['PATH']}"}
    said = ""
    for kind, block in BLOCKS:
        if kind == "yaml":
            assert (folder / "mine.yaml").read_text() == block
            continue
        command = ["sh", "-e", "-c", block] if kind == "sh" else [sys.executable, "-W", "ignore", "-c", block]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, block + done.stdout + done.stderr
        said += done.stdout
    assert [kind for kind, _ in BLOCKS].count("yaml") == 1
    assert "torch.Size([1, 8192])" in said
    assert "posts.csv, line 8" in said


def test_init_writes_a_recipe_that_plan_and_build_take(cli, data):
    """And two workers build what one does, which verify holds against the sources."""
    done = cli("init", "data", cwd=data)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "written: recipe.yaml; next: mixer plan recipe.yaml\n"
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["notes", "posts"]
    assert cli("plan", "recipe.yaml", cwd=data).returncode == 0
    ids = []
    for workers in (1, 2):
        out = f"out/{workers}"
        built = cli("build", "recipe.yaml", "-o", out, "--workers", workers, "--json", cwd=data)
        assert built.returncode == 0, built.stderr
        ids.append(json.loads(built.stdout)["id"])
        assert cli("verify", out, "--deep", cwd=data).returncode == 0
    assert ids[0] == ids[1]
    shown = json.loads(cli("show", "out/1", "--source", "notes", "--row", "1", "--json", cwd=data).stdout)
    assert (shown["text"], shown["place"]["words"]) == ("note b\nof two lines\n", "b.txt, line 1")


def test_init_replaces_no_recipe_without_force(cli, data):
    """Not even before it looks at the data."""
    (data / "recipe.yaml").write_text("mine")
    done = cli("init", "nothing", cwd=data)
    assert (done.returncode, (data / "recipe.yaml").read_text()) == (2, "mine")
    assert "already exists" in done.stderr
    assert "--force" in done.stderr
    assert cli("init", "data", "--force", cwd=data).returncode == 0
    assert "posts:" in (data / "recipe.yaml").read_text()


def test_init_says_what_it_found_as_json(cli, data):
    """For programs: one value on stdout, nothing on stderr."""
    done = cli("init", "data", "--json", cwd=data)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert [(one["name"], one["rows"], one["text"]) for one in found["sources"]] == [
        ("notes", 2, "text"),
        ("posts", 2, "body"),
    ]
    failed = cli("init", "nowhere", "-o", "b.yaml", "--json", cwd=data)
    assert failed.returncode == 2
    assert json.loads(failed.stderr)["hint"]
    assert not (data / "b.yaml").exists()


def test_head_shows_texts_and_no_terminal_obeys_them(cli, data):
    """Of a path, and of a recipe after its `where`; control characters are shown as escapes."""
    done = cli("head", "data/posts.csv", cwd=data)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\\x1b[31mred" in done.stdout
    assert "posts: 1 file of csv" in done.stdout
    assert cli("init", "data", cwd=data).returncode == 0
    done = cli("head", "recipe.yaml", "--source", "posts", "--set", "sources.posts.where=id == 1", "--json", cwd=data)
    (head,) = json.loads(done.stdout)["sources"]
    assert (head["texts"], head["kept"], head["looked_at"]) == (["one post"], 1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["head", "nowhere"], "matches no file"),
        (["head", "recipe.yaml"], "No such file"),
        (["head", "data", "--source", "x"], "there is no source 'x'"),
        (["head", "data", "--set", "seed=1"], "--set changes a recipe"),
        (["init", "data", "-o", "data"], "is a folder"),
        (["init", "data", "-o", "s3://bucket/x.yaml"], "is an address"),
    ],
)
def test_a_wrong_call_is_wrong_usage(cli, data, arguments, message):
    """Exit code 2, place and remedy."""
    done = cli(*arguments, cwd=data)
    assert done.returncode == 2
    assert message in done.stderr
    assert "hint: " in done.stderr
