"""Tokenizers that cannot be had: misspelt, unreadable, on a hub that is silent. One clear error, within seconds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mixer.errors import MixerError, RecipeError, TokenizerError
from mixer.tokens.tokenizer import load_tokenizer


def load(name: str, folder: Path) -> None:
    load_tokenizer(name, root=folder, cache_dir=folder / "cache").encoder.name  # noqa: B018


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lama3", "did you mean llama3?"),
        ("Llama-4", "did you mean llama4?"),
        ("missing.json", "use llama3, llama4, a path to a tokenizer.json or a rank file, or a hub id ORG/NAME"),
        ("folder/missing.model", "use llama3, llama4"),
        ("cl100k_base", "give the path of cl100k_base.tiktoken"),
        ("empty", "use llama3, llama4"),
    ],
)
def test_a_tokenizer_that_does_not_exist_is_the_recipes_fault(tmp_path: Path, name: str, hint: str) -> None:
    """Exit code 2, and what it could be."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError) as caught:
        load(name, tmp_path)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("tokenizer: ")
    assert name in caught.value.message
    assert hint in str(caught.value.hint)


def test_the_command_says_it_too(tmp_path: Path) -> None:
    """In one line and a hint."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("tokenizer: lama3\ntarget: {rows: 1}\nsources: {a: {weight: 1, path: a.jsonl}}\n")
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from mixer.cli.main import main; main()",
            "build",
            str(recipe),
            "-o",
            str(tmp_path / "out"),
            "--cache",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "there is no tokenizer 'lama3'" in done.stderr
    assert "hint: did you mean llama3?" in done.stderr


# Files.


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_only_regular_files_of_a_tokenizers_size_are_read(tmp_path: Path, name: str) -> None:
    """A pipe would wait for ever, a device would never end."""
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(TokenizerError, match="is a pipe, socket or device, not a regular file"):
        load(name, tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(TokenizerError, match="is a pipe, socket or device, not a regular file"):
        load(name, tmp_path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TokenizerError, match="has 1,099,511,627,776 bytes; a tokenizer's file has at most"):
        load(name, tmp_path)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(RecipeError, match="there is no tokenizer"):
        load(name, tmp_path)


def test_a_configuration_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """`tokenizer_config.json` is read by the same rules."""
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    (tmp_path / "tokenizer_config.json").mkdir()
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: is a directory"):
        load("tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").rmdir()
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(TokenizerError, match="must hold a JSON object"):
        load("tokenizer.json", tmp_path)


@pytest.mark.parametrize("depth", [100, 200, 600, 1_000, 1_000_000])
@pytest.mark.parametrize("text", ['{"model": {"vocab": {"a": 0}, "deep": %s}}', "%s", '{"model": {"vocab": %s}}'])
def test_json_that_is_nested_deep_is_refused(tmp_path: Path, depth: int, text: str) -> None:
    """At any depth, by whichever parser does not go so far."""
    (tmp_path / "tokenizer.json").write_text(text % ("[" * depth + "]" * depth))
    with pytest.raises(TokenizerError) as caught:
        load("tokenizer.json", tmp_path)
    assert "tokenizer.json" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        '{"model": {"vocab": {"a": "b"}}}',
        '{"model": {"vocab": {"a": null}}}',
        '{"model": {"vocab": {}}}',
        '{"model": {"vocab": {"a": 0}}, "added_tokens": 3}',
        '{"model": {"vocab": {"a": 0}}, "added_tokens": [{"special": true}]}',
        '{"model": {"vocab": {"a": 0}}, "added_tokens": ["x"]}',
        '{"model": {"vocab": {"a": 1e999}}}',
        '{"model": {"vocab": [3]}}',
        '{"model": [0]}',
        '{"model": {"type": "None", "vocab": {"a": 0}}}',
    ],
)
def test_a_tokenizer_json_of_another_shape_is_refused(tmp_path: Path, content: str) -> None:
    """With its place."""
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError) as caught:
        load("tokenizer.json", tmp_path)
    assert "tokenizer.json" in str(caught.value)


# The hub.

SCRIPT = """
import sys
from pathlib import Path
from mixer.errors import MixerError
from mixer.tokens.tokenizer import load_tokenizer
try:
    print(load_tokenizer(sys.argv[1], root=Path("."), cache_dir=Path(sys.argv[2])).vocab_size)
except MixerError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def ask_hub(endpoint: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Load some/model in a fresh process; seconds are counted from when the client is imported."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf")}
    environment = {name: value for name, value in environment.items() if name not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "some/model", str(folder / "cache")],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, time.monotonic() - started


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["silent", "refusing"])
def test_a_hub_that_does_not_answer_is_one_quiet_error(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Not half a minute of retries; and a cache that has the tokenizer is used."""
    endpoint = request.getfixturevalue(kind)
    done, seconds = ask_hub(endpoint, tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    first, hint = done.stdout.splitlines()
    assert first.startswith("tokenizer some/model: the hub does not answer (")
    assert "its cache on this machine has no tokenizer.json of some/model" in first
    assert "HF_HOME" in hint
    assert "path to a tokenizer.json" in hint
    assert seconds < 20  # with the start of Python on a busy machine; it was 27 and more
    snapshot = tmp_path / "hf/hub/models--some--model/snapshots/0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0, "b": 1}, "merges": []}}')
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text(snapshot.name)
    done, _ = ask_hub(endpoint, tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "2", "")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "there is no file some/model, and the hub has no such repository"),
        (401, "", "the hub refuses access to some/model"),
        (403, "GatedRepo", "some/model is a gated repository"),
        (404, "EntryNotFound", "some/model has no tokenizer.json on the hub"),
    ],
)
def test_a_repository_that_the_hub_does_not_give_is_the_recipes_fault(
    tmp_path: Path, status: int, code: str, message: str
) -> None:
    """Exit code 2: another id, or access, is needed."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done, _ = ask_hub(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(f"tokenizer: {message}")
    assert "hint: " in done.stdout


def test_without_the_hubs_client_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that can be pasted."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MixerError) as caught:
        load("some/model", tmp_path)
    assert "needs the package huggingface_hub" in str(caught.value)
    assert "pip install 'mixer-data[remote]'" in str(caught.value)
