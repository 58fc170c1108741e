"""Who is measured, with which command, on how much text."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RECIPE = ROOT / "recipes" / "sample.yaml"
MIXER = (sys.executable, "-m", "mixer.cli.main")
ANCESTOR_BUFFER_ROWS = 100_000
LIMIT_PART_BYTES = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a contestant did. `inside` are figures that it took itself, in seconds and bytes of text."""

    text_bytes: int
    versions: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A command that is run in a fresh process. `size` is the text that was asked for; `scan` are packages."""

    name: str
    size: str
    command: tuple[str, ...]
    report: Callable[[str], Report]
    scan: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.scan if importlib.util.find_spec(name) is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Folders and amounts of one run: `sizes` and `part` by name in bytes, such as {'200MB': 200_000_000}."""

    data: Path
    sizes: Mapping[str, int]
    part: tuple[str, int]

    @property
    def scratch(self) -> Path:
        """Where contestants write; empty at the start of each."""
        return self.data / "scratch"

    @property
    def text(self) -> Path:
        """Where the prepared texts are."""
        return self.data / "text"

    @property
    def root(self) -> Path:
        """The folder that the recipe's paths start from: the sample is beside it."""
        return self.data / "recipes"

    def forms(self) -> list[str]:
        """The texts to prepare, as `prepare.py` wants them."""
        wanted = [f"halves={self.part[1]}", f"sources={self.part[1]}"]
        for size in self.sizes.values():
            wanted += [f"arrow={self.limit_part(size)}", f"jsonl={size}"]
        return list(dict.fromkeys(wanted))

    @staticmethod
    def limit_part(size: int) -> int:
        """The text that gigatoken alone gets in one call; it gets it again until the size is reached."""
        return min(size, LIMIT_PART_BYTES)


def contestants(
    bench: Bench, row_bytes: float, text_bytes: Mapping[str, int], shares: Mapping[str, float]
) -> list[Contestant]:
    """Everyone, in the order of a round. The last three are what `prepare.py` found."""
    found = []
    for size, num_bytes in bench.sizes.items():
        found += [
            _mixer(bench, "mixer", size, f"target.rows={round(num_bytes / row_bytes)}"),
            *(_limit(bench, mode, size, num_bytes) for mode in ("threads", "processes")),
            _megatron(bench, size, num_bytes, text_bytes),
        ]
    return [
        *found,
        _datatrove(bench, text_bytes),
        _ancestor(bench, shares),
        _mixer(bench, "mixer-demo", "10M tokens"),
        _help(),
    ]


def _mixer(bench: Bench, name: str, size: str, *overrides: str) -> Contestant:
    out = bench.scratch / "out"
    command = [*MIXER, "build", str(RECIPE), "--quiet", "--json", "--root", str(bench.root), "-o", str(out)]
    command += ["--cache", str(bench.data / "cache"), "--manifests", str(bench.scratch / "manifests")]
    for override in overrides:
        command += ["--set", override]

    def report(stdout: str) -> Report:
        manifest = json.loads((out / "manifest.json").read_bytes())
        log = json.loads((out / "build-log.json").read_bytes())
        stages = {"plan": log["plan_seconds"], **log["step_seconds"]}
        extra = {"tokens": manifest["totals"]["tokens"], "stage_seconds": {k: round(v, 3) for k, v in stages.items()}}
        return Report(text_bytes=manifest["totals"]["text_bytes"], versions=log["versions"], extra=extra)

    return Contestant(name=name, size=size, command=tuple(command), report=report)


def _help() -> Contestant:
    return Contestant(
        name="mixer-help", size="-", command=(*MIXER, "--help"), report=lambda stdout: Report(text_bytes=0)
    )


def _limit(bench: Bench, mode: str, size: str, num_bytes: int) -> Contestant:
    part = bench.limit_part(num_bytes)
    # One call more than the text needs: the calls after the first are the warm ones.
    arguments = (mode, _text(bench, "arrow", part, "text.arrow"), _tokenizer(bench), str(num_bytes // part + 1))
    return _peer("limit.py", f"gigatoken-{mode}", size, arguments, scan=("gigatoken", "awkward"))


def _megatron(bench: Bench, size: str, num_bytes: int, text_bytes: Mapping[str, int]) -> Contestant:
    arguments = (_text(bench, "jsonl", num_bytes, "text.jsonl"), _tokenizer(bench), str(bench.scratch / "ids.bin"))
    return _peer(
        "megatron_preprocess.py",
        "megatron",
        size,
        arguments,
        scan=("gigatoken",),
        text=text_bytes[f"jsonl={num_bytes}"],
    )


def _datatrove(bench: Bench, text_bytes: Mapping[str, int]) -> Contestant:
    size, num_bytes = bench.part
    arguments = (
        _text(bench, "halves", num_bytes),
        str(bench.text / "tokenizer-with-specials.json"),
        str(bench.scratch / "datatrove"),
    )
    text = text_bytes[f"halves={num_bytes}"]
    return _peer("datatrove_tokenizer.py", "datatrove", size, arguments, scan=("datatrove", "tokenizers"), text=text)


def _ancestor(bench: Bench, shares: Mapping[str, float]) -> Contestant:
    size, num_bytes = bench.part
    mix = [f"{name}={share}" for name, share in shares.items()]
    arguments = (_text(bench, "sources", num_bytes), str(ANCESTOR_BUFFER_ROWS), *mix)
    return _peer("ancestor.py", "ancestor", size, arguments, scan=("datasets", "tiktoken", "llama_models"))


def _peer(
    script: str, name: str, size: str, arguments: tuple[str, ...], *, scan: tuple[str, ...], text: int | None = None
) -> Contestant:
    """A script of `peers/`, whose last line is JSON; `text` is given where it does not count its bytes of text."""

    def report(stdout: str) -> Report:
        said = json.loads(stdout.splitlines()[-1])
        num_bytes = text if text is not None else said["text_bytes"]
        inside = {
            figure: (taken["seconds"], taken.get("text_bytes", num_bytes))
            for figure, taken in said.get("inside", {}).items()
        }
        return Report(text_bytes=num_bytes, versions=said["versions"], inside=inside)

    command = (sys.executable, str(HERE / "peers" / script), *arguments)
    return Contestant(name=name, size=size, command=command, report=report, scan=scan)


def _text(bench: Bench, form: str, num_bytes: int, file: str = "") -> str:
    return str(bench.text / f"{form}-{num_bytes}" / file)


def _tokenizer(bench: Bench) -> str:
    return str(bench.text / "tokenizer.json")
