"""Write the texts that the peers read: the documents of the mix, in the form that each peer likes best.

    python benchmarks/prepare.py RECIPE ROOT OUT 'FORM=BYTES' ...

Documents are drawn as `mixer build` draws them: each source gives its share of the rows, over and over where it has
too few. A form goes to `OUT/FORM-BYTES/`. The output is JSON: the mean bytes of a drawn row, the bytes of text of each
form, and each source's share of the rows.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mixer.recipe import Recipe, load_recipe
from mixer.sources.pin import pin
from mixer.sources.reader import SourceReader
from mixer.tokens.tokenizer import load_tokenizer

_ROWS_OF_A_GROUP = 2_000
_SPECIALS = {"<|begin_of_text|>": 128_000, "<|end_of_text|>": 128_001}


def main(recipe_path: Path, root: Path, out: Path, wanted: list[str]) -> None:
    recipe = load_recipe(recipe_path, [])
    texts = read_texts(recipe, root)
    shares = row_shares(recipe)
    row_bytes = sum(shares[name] * _num_bytes(text) / len(text) for name, text in texts.items())
    out.mkdir(parents=True, exist_ok=True)
    write_tokenizers(out, root)
    text_bytes = {}
    for item in wanted:
        form, size = item.split("=")
        folder = out / f"{form}-{size}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        drawn = {name: draw(text, round(int(size) / row_bytes * shares[name])) for name, text in texts.items()}
        WRITERS[form](folder, drawn)
        text_bytes[item] = sum(_num_bytes(text) for text in drawn.values())
    print(json.dumps({"row_bytes": row_bytes, "text_bytes": text_bytes, "shares": shares}))


def read_texts(recipe: Recipe, root: Path) -> dict[str, pa.LargeStringArray]:
    """All documents of each source, in the order of its files."""
    texts = {}
    for name, source in recipe.sources.items():
        snapshot = pin(name, source, root)
        reader = SourceReader(name, source, snapshot)
        counts = enumerate(int(count) for count in snapshot.block_kept)
        texts[name] = pa.concat_arrays([part.text for block, count in counts for part in reader.read(block, 0, count)])
    return texts


def row_shares(recipe: Recipe) -> dict[str, float]:
    """Each source's share of the rows."""
    total = sum(source.weight for source in recipe.sources.values())
    return {name: float(source.weight / total) for name, source in recipe.sources.items()}


def draw(text: pa.LargeStringArray, num_rows: int) -> pa.LargeStringArray:
    """`num_rows` documents: evenly spaced where there are more of them, over and over where there are fewer."""
    num_rows = max(1, num_rows)
    step = max(1.0, len(text) / num_rows)
    return text.take(pa.array((np.arange(num_rows) * step).astype(np.int64) % len(text)))


def write_arrow(folder: Path, texts: Mapping[str, pa.LargeStringArray]) -> None:
    """One Arrow file of one column and one record batch."""
    table = pa.table({"text": _together(texts)})
    with pa.OSFile(str(folder / "text.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def write_jsonl(folder: Path, texts: Mapping[str, pa.LargeStringArray]) -> None:
    """Plain JSON lines with nothing but the text."""
    with (folder / "text.jsonl").open("w", encoding="utf-8") as file:
        for text in texts.values():
            file.writelines(json.dumps({"text": document}, ensure_ascii=False) + "\n" for document in text.to_pylist())


def write_halves(folder: Path, texts: Mapping[str, pa.LargeStringArray]) -> None:
    """Two parquet files of equal make-up, one for each worker."""
    together = _together(texts)
    for half in range(2):
        table = pa.table({"text": together.take(pa.array(np.arange(half, len(together), 2)))})
        pq.write_table(table, folder / f"{half}.parquet", row_group_size=_ROWS_OF_A_GROUP)


def write_sources(folder: Path, texts: Mapping[str, pa.LargeStringArray]) -> None:
    """One parquet file a source."""
    for name, text in texts.items():
        pq.write_table(pa.table({"text": text}), folder / f"{name}.parquet", row_group_size=_ROWS_OF_A_GROUP)


WRITERS = {"arrow": write_arrow, "jsonl": write_jsonl, "halves": write_halves, "sources": write_sources}


def write_tokenizers(out: Path, root: Path) -> None:
    """The Llama-3 tokenizer as gigatoken wants it (no added tokens) and with the added tokens that datatrove needs."""
    path = load_tokenizer("llama3", root=root, cache_dir=out).json_path
    content = json.loads(path.read_bytes())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content["added_tokens"] = [{"id": number, "content": name, **flags} for name, number in _SPECIALS.items()]
    (out / "tokenizer-with-specials.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    shutil.copyfile(path, out / "tokenizer.json")


def _together(texts: Mapping[str, pa.LargeStringArray]) -> pa.LargeStringArray:
    return pa.concat_arrays(list(texts.values()))


def _num_bytes(text: pa.LargeStringArray) -> int:
    return pc.sum(pc.binary_length(text)).as_py()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
