"""docs/commands.md against the app, help texts, and completion in a real shell."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mixer.cli.main import app

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "commands.md").read_text()
TABLE = [line for line in PAGE.splitlines() if line.startswith("| `mixer ")]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE]


def commands(group: Any, above: str = "mixer") -> Iterator[tuple[str, Any]]:
    """Every verb of the app with its full name, those of `mixer cache` too."""
    for name, command in group.commands.items():
        full = f"{above} {name}"
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


COMMANDS = dict(commands(typer.main.get_command(app)))


def options(command: Any) -> set[str]:
    """Every way to write an option of a command."""
    return {way for param in command.params for way in (*param.opts, *param.secondary_opts)}


def test_every_verb_is_on_the_page_and_no_other():
    """In the order of `mixer --help`."""
    assert [row[0].strip("`") for row in ROWS] == list(COMMANDS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip("`") for row in ROWS])
def test_every_option_and_example_of_the_page_exists(row):
    """The options that a row names, and those in its example, are options of its verb."""
    name = row[0].strip("`")
    named = re.findall(r"`(--[\w-]+)`", row[2])
    assert named
    assert set(named) <= options(COMMANDS[name])
    example = row[3].strip("`")
    assert example.startswith(name)
    words = shlex.split(example.split(" > ")[0])[len(name.split()) :]
    assert {word for word in words if word.startswith("-")} <= options(COMMANDS[name])
    with COMMANDS[name].make_context(name, list(words), resilient_parsing=False):
        pass  # it is understood: all arguments are there, and every value is of its kind


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_text_has_an_example_that_is_understood(name):
    """One line, with arguments that the verb takes."""
    (line,) = re.findall(r"^Example: (.*)$", inspect.cleandoc(COMMANDS[name].help), re.MULTILINE)
    if "$(" in line:
        return
    words = shlex.split(line.split(" > ")[0])
    assert " ".join(words).startswith(name)
    with COMMANDS[name].make_context(name, words[len(name.split()) :], resilient_parsing=False):
        pass


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    """Arguments too."""
    for param in COMMANDS[name].params:
        assert param.help, param.name
        assert param.help.endswith("."), param.help


@pytest.fixture
def shell(tmp_path, cli_environment) -> dict[str, str]:
    """An environment with a command `mixer`, and a home of its own."""
    command = tmp_path / "bin" / "mixer"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mixer.cli.main "$@"\n')
    command.chmod(0o755)
    (tmp_path / "home").mkdir()
    return cli_environment | {"PATH": f"{command.parent}:{cli_environment['PATH']}", "HOME": str(tmp_path / "home")}


def completed(shell: dict[str, str], *words: str) -> list[str]:
    """What bash offers for the last of some words, by the script that `--show-completion` prints."""
    script = 'source <(mixer --show-completion); COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); '
    script += "complete -p mixer >&2; _mixer_completion mixer; printf '%s\\n' \"${COMPREPLY[@]}\""
    command = ["bash", "--norc", "-c", script, "bash", *words]
    done = subprocess.run(command, env=shell, capture_output=True, text=True, check=True)
    assert "complete -o default -F _mixer_completion mixer" in done.stderr
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mixer st", ["status"]),
        ("mixer cache ", ["dir", "size", "prune"]),
        ("mixer build --dry", ["--dry-run"]),
        ("mixer export --to m", ["mds", "megatron"]),
        ("mixer fetch ", ["stack-v2"]),
        ("mixer fetch stack-v2 a b --on-missing drop", ["drop-file", "drop-repo"]),
        ("mixer build rec", []),  # `-o default`: then the shell completes paths itself
    ],
)
def test_bash_completes_verbs_options_and_values(shell, words, offered):
    """In a real bash."""
    assert completed(shell, *words.split(" ")) == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_completion_is_installed_for_the_shell_that_asks(shell):
    """Into its start-up file, which a new shell reads."""
    # Without a second command bash would replace itself, and be no parent.
    subprocess.run(["bash", "-c", "mixer --install-completion; true"], env=shell, check=True, capture_output=True)
    script = 'source ~/.bashrc; COMP_WORDS=(mixer ins); COMP_CWORD=1; _mixer_completion mixer; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script], env=shell, check=True, capture_output=True, text=True)
    assert done.stdout == "inspect\n"


@pytest.mark.parametrize(
    ("variables", "offered"),
    [
        ({"_MIXER_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "mixer cache pr"}, '"prune":"'),
        (
            {
                "_MIXER_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_ARGS": "mixer cache pr",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            "prune\tRemove old ",
        ),
    ],
    ids=["zsh", "fish"],
)
def test_zsh_and_fish_get_answers_in_their_own_form(shell, variables, offered):
    """These shells need not be installed for it."""
    done = subprocess.run(["mixer"], env=shell | variables, capture_output=True, text=True, check=True)
    assert offered in done.stdout


def test_no_public_option_is_called_window():
    """How many shards are read from at a time is `shuffle_shards`, in the loaders, the exports and the command line."""
    assert not {name for name, command in COMMANDS.items() if "--window" in options(command)}
    found = []
    for folder in ("feed", "export", "cli"):
        for path in (REPOSITORY / "mixer" / folder).rglob("*.py"):
            found += [f"{path.name}: {line}" for line in re.findall(r".*\bwindow\b.*", path.read_text())]
    assert found == []
