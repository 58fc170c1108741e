"""What the tests build with: a tiny mixture of six sources, the small sample, and one finished build."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workshop import SHARED, Workshop, cached_tokenizer, contents, shared, write_mixture

from mixer.building import build as build_module
from mixer.sample import make_sample
from mixer.tokens.tokenizer import load_tokenizer

SAMPLE_BYTES = 2_000_000

# A job in the background of a shell (`nohup make test &`) is started with ^C ignored, and so would be what it starts:
# tests that send it would wait for nothing. A handler of Python's own is not inherited; the default is.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m quick` need not import files that have no such test: trainers' packages take many seconds."""
    if config.option.markexpr == "quick" and collection_path.match("test_*.py"):
        return True if b"mark.quick" not in collection_path.read_bytes() else None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the markers `clients` and `servers`, which follow from where a test stands and what it uses.

    Where two processes share the tests, a file stays together, since its tests share what they build; and so do the
    trainers', which look at what is left in /dev/shm, where every process of the machine may leave something.
    """
    for item in items:
        file = item.path.relative_to(Path(__file__).parent)
        group = file.as_posix()
        if file.parts[0] == "clients":
            group = "clients"
            item.add_marker("clients")
        names = vars(item.getparent(pytest.Module).obj).values()  # type: ignore[union-attr]
        origins = {str(getattr(value, "__module__", "")).partition(".")[0] for value in names}
        if origins & {"servers", "remote_kit"}:
            item.add_marker("servers")
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="module", autouse=True)
def _shared_folders_stay_as_they_are() -> Iterator[None]:
    """A test that changes what others read fails its own module, not one that happens to run after it."""
    yield
    for folder, before in SHARED.items():
        after = contents(folder)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        SHARED[folder] = after
        assert changed == [], f"a test of this module changed {folder}, which all tests share"


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    return Workshop(root=shared(write_mixture(folder / "data")), cache_dir=folder / "cache")


@pytest.fixture(autouse=True)
def _load_each_tokenizer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading Llama-3's tokenizer takes longer than the small builds of the tests."""
    monkeypatch.setattr(build_module, "load_tokenizer", _loaded)


def _loaded(name: Any, *, root: Path, cache_dir: Path) -> Any:
    if isinstance(name, str):
        return cached_tokenizer(name, root=root, cache_dir=cache_dir)
    return load_tokenizer(name, root=root, cache_dir=cache_dir)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a 2 MB sample."""
    folder = tmp_path_factory.mktemp("sample") / "sample"
    make_sample(folder, SAMPLE_BYTES)
    return shared(folder)


@pytest.fixture(scope="session")
def finished(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of several shards, not to be changed; `copy_of_finished` is."""
    out = tmp_path_factory.mktemp("finished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "load_tokenizer", _loaded)
        workshop.build(out, workshop.recipe())
    return shared(out)


@pytest.fixture
def copy_of_finished(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished build, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "out"))
