"""datatrove's DocumentTokenizer on two workers: parquet to shuffled files of ids, an end id behind each document.

python benchmarks/peers/datatrove_tokenizer.py HALVES_FOLDER TOKENIZER_JSON OUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer


def main(halves: str, tokenizer_path: str, out: str) -> None:
    tokenize = DocumentTokenizer(f"{out}/ids", tokenizer_path, eos_token="<|end_of_text|>", seed=1)
    LocalPipelineExecutor([ParquetReader(halves), tokenize], tasks=2, workers=2, logging_dir=f"{out}/logs").run()
    print(json.dumps({"versions": {name: version(name) for name in ("datatrove", "tokenizers")}}))


if __name__ == "__main__":
    main(*sys.argv[1:])
