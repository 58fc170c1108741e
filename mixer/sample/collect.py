"""Documents for the six sources, cut from the files of an installation; each text appears once over all sources."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pydoc_data.topics import topics
from typing import TypeVar

import xxhash

from mixer.rng import permutation
from mixer.sample.docstrings import Docstring, iter_comments, iter_docstrings
from mixer.sample.documents import Document, Repository, Row
from mixer.sample.installation import Installation, TextFile

T = TypeVar("T")

_SEED = 0
_POOL_FACTOR = 4  # a sample is chosen from this many times its size: docstrings are a seventh of the code
_MIN_CHARACTERS = 200
# A docstring this long explains something: a document of its own. Shorter ones go together by class or module.
_LONG_CHARACTERS = 400
_MATHS = re.compile(
    r"numpy/(linalg|fft|polynomial|random|lib|ma|matrixlib|_core/(fromnumeric|numeric|function_base|einsumfunc)).*"
    r"|Lib/(statistics|fractions|decimal|_pydecimal|random|numbers|colorsys|heapq|bisect|turtle)\.py"
    r"|Lib/test/(test_)?(math|cmath|decimal|statistics|fractions|random|float|complex|long|int|numeric_tower|pow)\w*\.py"
    r"|.*/(math|stats?|statistics|linalg|numeric|random|moments|rolling|ewm)[^/]*\.py"
)
# A part of a package is closed at the first size and goes over the second with a single long file only.
_PART_BYTES = 24_000
_PART_MAX_BYTES = 120_000

SamplePart = tuple[str, list[TextFile]]


def collect(installation: Installation, size_bytes: int) -> dict[str, list[Row]]:
    """The documents of the installation for each source, in a keyed order: all, or about four times `size_bytes`."""
    parts = _pool(_parts(file for file in installation.files if file.kind == "code"), size_bytes)
    seen = _Seen()
    repositories = []
    for name, part in parts:
        files = [Document(text=text, path=file.path, kind="code") for file, text in _texts(installation, part)]
        if fresh := tuple(file for file in files if seen.is_new(file.text)):
            repositories.append(Repository(name=name, files=fresh))
    rows: dict[str, list[Row]] = defaultdict(list, {"stack-v2": [*repositories]})
    code = (file for repository in repositories for file in repository.files)
    for source, document in chain(_from_code(code), _from_files(installation, size_bytes), _from_topics()):
        if len(document.text) >= _MIN_CHARACTERS and seen.is_new(document.text):
            rows[source].append(document)
    return {source: _shuffled(rows[source], source) for source in rows}


class _Seen:
    """The digests of the texts taken so far, white space at the ends aside."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def is_new(self, text: str) -> bool:
        digest = xxhash.xxh3_128_digest(text.strip().encode())
        known = digest in self._digests
        self._digests.add(digest)
        return not known


def _shuffled(items: list[T], name: str) -> list[T]:
    return [items[index] for index in permutation(len(items), _SEED, "sample", name)]


def _texts(installation: Installation, files: Iterable[TextFile]) -> Iterator[tuple[TextFile, str]]:
    for file in files:
        if text := installation.read(file):
            yield file, text


def _parts(files: Iterable[TextFile]) -> list[SamplePart]:
    """Files in the order of their paths, cut into parts of a package of tens of KB: the rows of Stack."""
    parts: list[SamplePart] = []
    package, num_bytes = "", 0
    for file in files:
        over = num_bytes + file.num_bytes > _PART_MAX_BYTES
        if file.package != package or num_bytes >= _PART_BYTES or over:
            parts.append((file.path.rsplit(".", 1)[0], []))
            package, num_bytes = file.package, 0
        parts[-1][1].append(file)
        num_bytes += file.num_bytes
    return parts


def _pool(parts: list[SamplePart], size_bytes: int) -> list[SamplePart]:
    """The first parts in a keyed order, enough to choose from, then the parts about mathematics."""
    pool, num_bytes = [], 0
    for part in _shuffled(parts, "pool"):
        if num_bytes < _POOL_FACTOR * size_bytes or any(_MATHS.fullmatch(file.path) for file in part[1]):
            pool.append(part)
            num_bytes += sum(file.num_bytes for file in part[1])
    return pool


def _from_code(files: Iterable[Document]) -> Iterator[tuple[str, Document]]:
    """Comments and docstrings of Python files, each with its source."""
    for file in files:
        if not file.path.endswith(".py"):
            continue
        for text in iter_comments(file.text, _LONG_CHARACTERS):
            yield "dolma", Document(text=text, path=file.path, kind="comment")
        docstrings = list(iter_docstrings(file.text))
        long_source = "finemath" if _MATHS.fullmatch(file.path) else "fineweb-edu"
        for doc in docstrings:
            if len(doc.text) >= _LONG_CHARACTERS:
                yield long_source, Document(text=doc.text, path=file.path, kind=doc.kind, name=doc.name)
        yield from (("dclm", document) for document in _grouped(file.path, docstrings))


def _grouped(path: str, docstrings: Iterable[Docstring]) -> Iterator[Document]:
    """The short docstrings of a module, and of each class in it, as one document each."""
    texts: dict[str, list[str]] = defaultdict(list)
    for docstring in docstrings:
        if len(docstring.text) < _LONG_CHARACTERS:
            texts[docstring.owner].append(f"{docstring.name}: {docstring.text}" if docstring.name else docstring.text)
    for owner, pieces in texts.items():
        yield Document(text="\n\n".join(pieces), path=path, kind="class" if owner else "module", name=owner)


def _from_files(installation: Installation, size_bytes: int) -> Iterator[tuple[str, Document]]:
    """Whole files that are not code, each with its source; of the many stubs no more than a sample can take."""
    source_of = {"stub": "zyda", "prose": "fineweb-edu", "licence": "dolma", "note": "dolma"}
    stub_bytes = 0
    for file in _shuffled([file for file in installation.files if file.kind != "code"], "files"):
        if file.kind == "stub":
            if stub_bytes > size_bytes:
                continue
            stub_bytes += file.num_bytes
        for _, text in _texts(installation, [file]):
            yield source_of[file.kind], Document(text=text, path=file.path, kind=file.kind)


def _from_topics() -> Iterator[tuple[str, Document]]:
    """The chapters of the language reference that `pydoc` carries."""
    for name, text in sorted(topics.items()):
        yield "dclm", Document(text=text, path="Lib/pydoc_data/topics.py", kind="topic", name=name)
