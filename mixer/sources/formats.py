"""The formats by name. Each module offers two functions:

count_blocks(path, needs) -> rows of each block, kept rows of each block
read_block(path, block, needs, skip_rows) -> Iterator[Piece]
"""

from types import ModuleType

from mixer.sources import arrow, jsonl, parquet

FORMATS: dict[str, ModuleType] = {"parquet": parquet, "arrow": arrow, "jsonl": jsonl}
