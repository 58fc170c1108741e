"""Small trees laid out as the real repositories and buckets are: names, formats, schemas, and what is odd about them.

Each function writes one of them into a folder. Texts are made by key: a file's rows depend on its name alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from mixer.sample.schemas import FINEMATH, FINEWEB_EDU, STACK

_WORDS = [
    *("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "with", "on", "be", "by", "this", "from", "or"),
    *("theorem", "proof", "energy", "market", "river", "language", "model", "number", "were", "their", "don't", "x=1;"),
    *("café", "naïve", "Größe", "数学", "\n\n", "42", "3.14", "<|end_of_text|>"),
]
_FILE = pa.struct([field for field in STACK.field("files").type.value_type if field.name != "text"])
STACK_IDS = STACK.set(STACK.get_field_index("files"), pa.field("files", pa.list_(_FILE)))
# Names as the Software Heritage archive gives them; Python knows all but the last.
ENCODINGS = ("UTF-8", "UTF-8", "ISO-8859-1", "GB18030", "UTF-16", "x-unknown")
ZYDA2_SUBSETS = {
    "dclm_crossdeduped": ("global-shard_01_of_10", "global-shard_02_of_10"),
    "fwe3": ("CC-MAIN-2013-20", "CC-MAIN-2024-10"),
    "dolma-cc_crossdeduped-filtered": ("",),
    # The directory does end in a space.
    "zyda_crossdeduped-filtered ": ("c4_en", "zyda_peS2o"),
}
_PARTS = (0, 2, 10)
_DCLM = pa.schema(
    [
        ("url", pa.string()),
        ("language_score", pa.float32()),
        ("fasttext_score", pa.float32()),
        ("quality_pred", pa.list_(pa.string())),
        ("quality_prob", pa.list_(pa.float64())),
    ]
)
_FWE3 = pa.schema(
    [
        ("dump", pa.string()),
        ("language_score", pa.float64()),
        ("token_count", pa.int64()),
        ("int_score", pa.int64()),
        ("quality_pred", pa.string()),
    ]
)
_DOLMA_CC = pa.schema([("quality_prob", pa.list_(pa.float64())), ("source", pa.string())])
_ZYDA = pa.schema([("source", pa.string()), ("filtering_features", pa.string()), ("quality_prob", pa.float64())])


def texts(key: str, count: int, most_words: int = 120) -> list[str]:
    """Texts of 1 to `most_words` words, the same for the same key."""
    chance = random.Random(key)
    return [" ".join(chance.choices(_WORDS, k=chance.randint(1, most_words))) for _ in range(count)]


def write_zyda2(root: Path) -> None:
    """Zyphra/Zyda-2: four subsets whose other columns differ, and the sample of 100 B tokens."""
    schemas = dict(zip(ZYDA2_SUBSETS, (_DCLM, _FWE3, _DOLMA_CC, _ZYDA), strict=True))
    for subset, folders in ZYDA2_SUBSETS.items():
        for folder in folders:
            for part in _PARTS:
                # Most files have one row group, as Dask writes them.
                groups = 3 if part == 2 else 1
                _write_parquet(root, f"data/{subset}/{folder or '.'}/part.{part}.parquet", schemas[subset], 24, groups)
    for subset in ("dclm_crossdeduped", "fwe3", "dolma_cc-crossdeduped-filtered", "zyda_crossdeduped-filtered"):
        for part in _PARTS:
            _write_parquet(root, f"sample/100BT/{subset}/part.{part}.parquet", pa.schema([]), 20, 1)
    paths = {
        "default": "data/*/*/*",
        "sample-100BT": "sample/100BT/*/*",
        "dclm_crossdeduped": "data/dclm_crossdeduped/*/*",
        "zyda_crossdeduped-filtered": "data/zyda_crossdeduped-filtered /*/*",
        "dolma-cc_crossdeduped-filtered": "data/dolma-cc_crossdeduped-filtered/*",
        "fwe3": "data/fwe3/*/*",
    }
    _write_card(root, {name: [("train", path)] for name, path in paths.items()})


def write_finemath(root: Path) -> None:
    """HuggingFaceTB/finemath: a directory a config; infiwebmath counts tokens in 64 bits."""
    configs = ("finemath-3plus", "finemath-4plus", "infiwebmath-3plus", "infiwebmath-4plus")
    wide = FINEMATH.set(FINEMATH.get_field_index("token_count"), pa.field("token_count", pa.int64()))
    for config in configs:
        for number in range(2):
            schema = wide if config.startswith("infi") else FINEMATH
            _write_parquet(root, f"{config}/train-{number:05d}-of-00002.parquet", schema, 30, 2)
    _write_card(root, {config: [("train", f"{config}/train-*")] for config in configs})


def write_fineweb_edu(root: Path) -> None:
    """HuggingFaceFW/fineweb-edu: a directory a crawl, and samples."""
    for folder in ("data/CC-MAIN-2013-20", "data/CC-MAIN-2024-10", "sample/10BT"):
        for number in range(2):
            _write_parquet(root, f"{folder}/train-{number:05d}-of-00002.parquet", FINEWEB_EDU, 30, 2)
    configs = {"default": "data/*/*", "CC-MAIN-2013-20": "data/CC-MAIN-2013-20/*", "sample-10BT": "sample/10BT/*"}
    _write_card(root, {name: [("train", path)] for name, path in configs.items()})


def write_dclm_baseline(root: Path) -> None:
    """mlfoundations/dclm-baseline-1.0: JSON lines in several zstd frames, metadata whose keys come and go."""
    for shard in (1, 2):
        for local in (0, 1):
            name = f"global-shard_{shard:02d}_of_10/local-shard_{local}_of_10/shard_00000000_processed.jsonl.zst"
            lines = [_line(_dclm_record(text, row)) for row, text in enumerate(texts(name, 25))]
            path = root / name
            path.parent.mkdir(parents=True)
            path.write_bytes(b"".join(zstandard.compress(b"".join(lines[at : at + 10])) for at in range(0, 25, 10)))
    _write_card(root, {})


def write_dolma(root: Path) -> None:
    """What https://olmo-data.org serves of Dolma 1.7: JSON lines, gzip, metadata of any form."""
    for name, num_files in (("books", 3), ("wiki", 2)):
        for number in range(num_files):
            path = root / f"dolma-v1_7/{name}/{name}-{number:04d}.json.gz"
            records = [_dolma_record(text, row, name) for row, text in enumerate(texts(path.name, 20))]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(b"".join(map(_line, records)), mtime=0))


def write_stack_ids(root: Path) -> None:
    """bigcode/the-stack-v2-train-smol-ids: repositories as lists of files, without their text."""
    for number in range(2):
        path = root / f"data/train-{number:05d}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [_repository(number, row, contents) for row, contents in enumerate(stack_contents(number))]
        pq.write_table(pa.Table.from_pylist(rows, STACK_IDS), path, row_group_size=4)
    _write_card(root, {"default": [("train", "data/train-*")]})


def write_stack_bucket(bucket: Path) -> None:
    """The bucket `softwareheritage`: each file's bytes as `content/<their sha1>`, with gzip."""
    (bucket / "content").mkdir(parents=True)
    for number in range(2):
        for _, data in (file for contents in stack_contents(number) for file in contents):
            (bucket / "content" / hashlib.sha1(data).hexdigest()).write_bytes(gzip.compress(data, mtime=0))


def write_stack_texts(folder: Path) -> None:
    """The same repositories with the text of each file, as they are read when they have been fetched."""
    folder.mkdir(parents=True)
    for number in range(2):
        rows = []
        for row, contents in enumerate(stack_contents(number)):
            repository = _repository(number, row, contents)
            for file, (encoding, data) in zip(repository["files"], contents, strict=True):
                known = "UTF-8" if encoding == "x-unknown" else encoding
                file["text"] = data.decode(known)
            rows.append(repository)
        pq.write_table(pa.Table.from_pylist(rows, STACK), folder / f"{number}.parquet", row_group_size=4)


def stack_contents(number: int) -> list[list[tuple[str, bytes]]]:
    """Encoding and bytes of each file of each repository of one parquet file; one blob is in several repositories."""
    chance = random.Random(f"stack {number}")
    licence = ("UTF-8", b"Permission is hereby granted, free of charge, to any person\n")
    repositories = []
    for row in range(10):
        files = [licence] if row % 3 == 0 else []
        for text in texts(f"stack {number} {row}", chance.randint(1, 4), 300):
            encoding = chance.choice(ENCODINGS)
            codec = "UTF-8" if encoding == "x-unknown" else encoding
            files.append((encoding, text.encode(codec, errors="ignore")))
        repositories.append(files)
    return repositories


def _repository(number: int, row: int, contents: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    files = [_file_row(f"/src/{place}.py", encoding, data) for place, (encoding, data) in enumerate(contents)]
    sha = hashlib.sha1(f"{number} {row}".encode()).hexdigest()
    ids = dict.fromkeys(("snapshot_id", "revision_id", "directory_id"), sha)
    return {"repo_name": f"owner{number}/repo{row}", "repo_url": None, **ids, "num_files": len(files), "files": files}


def _file_row(path: str, encoding: str, data: bytes) -> dict[str, Any]:
    blob_id = hashlib.sha1(data).hexdigest()
    is_odd = blob_id < "4"
    return {
        "blob_id": blob_id,
        "path": path,
        "content_id": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
        "language": "C" if is_odd else "Python",
        "length_bytes": len(data),
        "detected_licenses": ["MIT"] if is_odd else [],
        "license_type": "permissive" if is_odd else "no_license",
        "src_encoding": encoding,
        "is_vendor": blob_id[1] < "2",
        "is_generated": blob_id[2] < "2",
    }


def _write_parquet(root: Path, name: str, others: pa.Schema, num_rows: int, num_groups: int) -> None:
    """A file of texts and of columns that nobody reads; of Zyda-2 where the others have no text of their own."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {field.name: _filler(field.type, num_rows) for field in others}
    if "text" not in columns:
        columns["nemo_id"] = pa.array([f"{path.name}-{row}" for row in range(num_rows)])
    columns["text"] = pa.array(texts(name, num_rows))
    pq.write_table(pa.table(columns), path, row_group_size=-(-num_rows // num_groups))


def _filler(kind: pa.DataType, num_rows: int) -> pa.Array:
    if pa.types.is_list(kind):
        values = [[f"High{row}"] if kind.value_type == pa.string() else [row / num_rows] for row in range(num_rows)]
        return pa.array(values, kind)
    if pa.types.is_string(kind):
        return pa.array([f"value {row}" for row in range(num_rows)])
    return pa.array([row % 6 for row in range(num_rows)]).cast(kind)


def _write_card(root: Path, configs: dict[str, list[tuple[str, str]]]) -> None:
    """README.md with the YAML that `datasets` finds the configs by."""
    lines = ["---", "license: odc-by"] + ["configs:"] * bool(configs)
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [line for split, path in splits for line in (f"  - split: {split}", f"    path: {path}")]
    (root / "README.md").write_text("\n".join([*lines, "---", f"# {root.name}", ""]), encoding="utf-8")


def _dclm_record(text: str, row: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"Content-Length": str(len(text)), "WARC-Type": "response"}
    if row % 3 == 0:
        metadata["WARC-Truncated"] = "length"
    if row % 4 == 0:
        metadata |= {"Content-Length": len(text), "nested": {"deep": [row]}}
    scores = {"fasttext_openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train_prob": row / 25}
    return {"text": text, "url": f"http://example.org/{row}", "metadata": metadata, **scores}


def _dolma_record(text: str, row: int, source: str) -> dict[str, Any]:
    metadata: Any = ({"length": len(text)}, {"length": str(len(text)), "authors": [source]}, None)[row % 3]
    record = {"id": f"{source}-{row}", "text": text, "source": source, "added": "2024-01-01", "metadata": metadata}
    return record if row % 2 else {**record, "created": "1900-01-01"}


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"
