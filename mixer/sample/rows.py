"""Documents as rows of the six data sets.

Columns that the real data sets fill from crawls and classifiers are filled with what can be measured on the text
itself: `token_count` is a quarter of the bytes, a score is a share of letters or of digits and operators. They are
there so that schemas and `where` predicates can be tried out, and are no judgement of quality.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from typing import Any

from mixer.sample.documents import Document, Repository

_DUMP = "PYTHON-INSTALLATION"
_UNKNOWN_TIME = "1970-01-01T00:00:00.000Z"
_PROBABILITY = "fasttext_openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train_prob"
_ALPHA = string.ascii_letters
_FORMULA = string.digits + "+-*/=<>^()[]{}.,"
_LICENCES = {"Apache-2.0": "Apache License", "MIT": "MIT License", "BSD-3-Clause": "BSD"}
_LANGUAGES = {
    ".c": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".css": "CSS",
    ".cu": "Cuda",
    ".f90": "Fortran",
    ".html": "HTML",
    ".js": "JavaScript",
    ".pxd": "Cython",
    ".pxi": "Cython",
    ".py": "Python",
    ".pyx": "Cython",
    ".sh": "Shell",
    ".toml": "TOML",
}


def _url(row: Document) -> str:
    """A package URL (purl): the package, the path within the installation, and the name within the file."""
    return f"pkg:generic/{row.path.split('/', 1)[0]}#{row.path}" + (f":{row.name}" if row.name else "")


def _share(data: bytes, characters: str) -> float:
    """The share of a text's bytes that are one of some ASCII characters."""
    return 1 - len(data.translate(None, characters.encode())) / len(data)


def _prose(text: str) -> float:
    """Letters and spaces as a share of the text: near 1 for plain prose, lower for code and tables."""
    return _share(text.encode(), _ALPHA + " \n")


def dclm_row(row: Document) -> dict[str, Any]:
    """A line of DCLM: nested metadata whose keys come and go."""
    metadata: dict[str, Any] = {"Content-Type": "text/plain", "Content-Length": row.num_bytes}
    if row.kind == "class":
        metadata["class"] = row.name
    elif row.kind == "topic":
        metadata["topic"] = {"name": row.name, "num_lines": row.text.count("\n") + 1}
    prose = _prose(row.text)
    return {
        "text": row.text,
        "url": _url(row),
        "metadata": metadata,
        "language_id_whole_page_fasttext": {"en": round(prose, 4)},
        "previous_word_count": len(row.text.split()),
        _PROBABILITY: prose,
    }


def dolma_row(row: Document) -> dict[str, Any]:
    """A line of Dolma: free-form metadata; a value has another type from line to line."""
    metadata: dict[str, Any] = {"path": row.path, "num_lines": row.text.count("\n") + 1}
    if row.kind == "comment":
        metadata["num_lines"] = str(metadata["num_lines"])
    else:
        metadata["file"] = {"name": row.path.rsplit("/", 1)[-1], "num_bytes": row.num_bytes}
    return {
        "id": hashlib.sha1(row.text.encode()).hexdigest(),
        "text": row.text,
        "source": f"python-{row.kind}",
        "added": _UNKNOWN_TIME,
        "created": _UNKNOWN_TIME,
        "metadata": metadata,
    }


def fineweb_edu_row(row: Document) -> dict[str, Any]:
    """A row of FineWeb-Edu."""
    prose = _prose(row.text)
    score = 5 * prose**2
    return {
        "text": row.text,
        "id": f"<urn:sha1:{hashlib.sha1(row.text.encode()).hexdigest()}>",
        "dump": _DUMP,
        "url": _url(row),
        "file_path": row.path,
        "language": "en",
        "language_score": prose,
        "token_count": row.num_bytes // 4,
        "score": score,
        "int_score": round(score),
    }


def zyda_row(row: Document) -> dict[str, Any]:
    """A row of Zyda: four strings, two of which hold JSON."""
    return {
        "text": row.text,
        "source": row.path.split("/", 1)[0],
        "filtering_features": json.dumps({"prose": round(_prose(row.text), 4)}),
        "source_other": json.dumps({"path": row.path}),
    }


def finemath_row(row: Document) -> dict[str, Any]:
    """A row of FineMath."""
    score = min(5.0, 2.5 + 10 * _share(row.text.encode(), _FORMULA))
    return {
        "text": row.text,
        "url": _url(row),
        "score": score,
        "int_score": round(score),
        "token_count": row.num_bytes // 4,
    }


def stack_row(row: Repository) -> dict[str, Any]:
    """A row of Stack v2: a repository, its files with their texts; `blob_id` is the sha1 of the bytes."""
    files = [_stack_file(file) for file in row.files]
    content = hashlib.sha1("".join(file["blob_id"] for file in files).encode()).hexdigest()
    return {
        "repo_name": row.name,
        "repo_url": f"pkg:generic/{row.name.split('/', 1)[0]}#{row.name}",
        "snapshot_id": content,
        "revision_id": content,
        "directory_id": content,
        "branch_name": "refs/heads/main",
        "visit_date": None,
        "num_files": len(files),
        "files": files,
    }


def _stack_file(file: Document) -> dict[str, Any]:
    data = file.text.encode()
    line_lengths = [len(line) for line in data.splitlines()]
    head = file.text[:2000]
    licences = [name for name, words in _LICENCES.items() if words in head]
    return {
        "blob_id": hashlib.sha1(data).hexdigest(),
        "path": "/" + file.path,
        "content_id": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
        "language": _LANGUAGES.get("." + file.path.rsplit(".", 1)[-1].lower(), "Text"),
        "length_bytes": len(data),
        "detected_licenses": licences,
        "license_type": "permissive" if licences else "no_license",
        "src_encoding": "UTF-8",
        "is_vendor": "/_vendor/" in file.path,
        "is_generated": bool(re.search(r"(?i)generated (by|from|file)|do not edit", head)),
        "alphanum_fraction": _share(data, _ALPHA + string.digits),
        "alpha_fraction": _share(data, _ALPHA),
        "num_lines": len(line_lengths),
        "avg_line_length": sum(line_lengths) / len(line_lengths),
        "max_line_length": max(line_lengths),
        "text": file.text,
    }
