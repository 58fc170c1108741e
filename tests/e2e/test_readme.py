"""The README's own-data lines, by the letter: from files to batches."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mixer.cli.main import app

REPOSITORY = Path(__file__).parents[2]
PART = (REPOSITORY / "README.md").read_text().split("<!-- own-data:start -->")[1].split("<!-- own-data:end -->")[0]
COMMANDS, CODE = (fence.partition("\n")[2] for fence in PART.split("```")[1::2])
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture
def clone(project: Path, tmp_path: Path) -> Path:
    """A folder with the sources of the demo and nothing else."""
    shutil.copytree(project / "sample", tmp_path / "sample")
    return tmp_path


def test_the_lines_lead_from_files_to_batches(clone: Path, cli, cli_environment: dict[str, str]) -> None:
    """Each command succeeds, and says something; the loop ends after the last batch."""
    ran = []
    for line in COMMANDS.splitlines():
        words = shlex.split(line, comments=True)
        done = cli(*words[1:], cwd=clone)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout, line
        ran.append(words[1])
    assert ran == ["init", "plan", "build", "inspect", "verify"]
    code = CODE + "print(batch['labels'].dtype, tuple(batch['input_ids'].shape), checkpoint['consumed'])\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=clone, env=cli_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch.int64 (8, 8192) ")


def test_the_demo_is_made_of_commands_that_there_are() -> None:
    """`make demo` runs three verbs with options that they have."""
    printed = subprocess.run(
        ["make", "-n", "demo"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    lines = [shlex.split(line)[1:] for line in printed if line.startswith(".venv/bin/mixer ")]
    assert [words[0] for words in lines] == ["sample", "build", "verify"]
    for verb, *rest in lines:
        options = {name for parameter in VERBS[verb].params for name in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options
