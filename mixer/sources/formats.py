"""The formats by name. Each module offers two functions:

count_blocks(file, needs) -> rows of each block, kept rows of each block
read_block(file, block, needs, skip_rows) -> Iterator[Piece]

`file` is an `OpenedFile`.
"""

from types import ModuleType

from mixer.sources import arrow, jsonl, parquet

FORMATS: dict[str, ModuleType] = {"parquet": parquet, "arrow": arrow, "jsonl": jsonl}
