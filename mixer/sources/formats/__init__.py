"""The formats by name. Each module offers two functions:

count_blocks(file, scan) -> rows of each block, kept rows of each block
read_block(file, block, scan, skip_rows) -> Iterator[Piece]

`file` is an `OpenedFile`.
"""

from types import ModuleType

from mixer.sources.formats import arrow, jsonl, parquet

FORMATS: dict[str, ModuleType] = {"parquet": parquet, "arrow": arrow, "jsonl": jsonl}
