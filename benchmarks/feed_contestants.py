"""Who reads packed sequences, from which form of them, with which script of `peers/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PEERS = HERE / "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The sequences as one library keeps them, or a part of them; `script` is that of `peers/`."""

    name: str
    script: str
    part: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One way to read a form once in shuffled order; `mode` is the script's."""

    name: str
    form: Form
    mode: str = ""

    def command(self, python: str, folder: Path, *, prove: bool) -> list[str]:
        """What is run in a fresh process."""
        command = [python, str(PEERS / self.form.script), "read", str(folder), "--mode", self.mode]
        return [*command, "--prove"] if prove else command


BUILD = Form(name="build", script="feed_mixer.py")
_MEMMAP = Form(name="memmap", script="feed_memmap.py")
_LITDATA = Form(name="litdata", script="feed_litdata.py")
_MOSAICML = Form(name="mosaicml", script="feed_mosaicml.py")
_DATASETS = Form(name="datasets", script="feed_datasets.py")
_DATASETS_PART = Form(name="datasets-part", script="feed_datasets.py", part=True)

WRITTEN = (_MEMMAP, _LITDATA, _MOSAICML, _DATASETS, _DATASETS_PART)
"""The forms that are made from those of `BUILD`."""

READERS = (
    Reader(name="memmap", form=_MEMMAP),
    Reader(name="mixer-ids", form=BUILD, mode="ids"),
    Reader(name="litdata", form=_LITDATA),
    Reader(name="mixer-batch", form=BUILD, mode="batch"),
    Reader(name="mixer-loader", form=BUILD, mode="loader"),
    Reader(name="memmap-loader-2", form=_MEMMAP, mode="loader-2"),
    Reader(name="mixer-loader-2", form=BUILD, mode="loader-2"),
    Reader(name="mosaicml", form=_MOSAICML),
    Reader(name="datasets", form=_DATASETS, mode="map"),
    Reader(name="datasets-streaming", form=_DATASETS_PART, mode="streaming"),
)
"""Everyone, in the order of a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedBench:
    """Folders and amounts of one run. `pythons` are interpreters by form, where it has one of its own."""

    data: Path
    text: str
    num_sequences: int
    python: str
    pythons: Mapping[str, str]

    @property
    def num_part(self) -> int:
        """Sequences of the part."""
        return self.num_sequences // 10

    @property
    def forms(self) -> Path:
        """Where the forms are, made anew in each run."""
        return self.data / "forms"

    def folder(self, form: Form) -> Path:
        """Where one form is."""
        return self.forms / form.name

    def interpreter(self, form: Form) -> str:
        """Who runs its script; a part is read by whom the whole is."""
        return self.pythons.get(form.name.removesuffix("-part"), self.python)
