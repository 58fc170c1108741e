"""`datasets` streaming from a bucket: rows of several parquet sources, interleaved by share, each text looked at.

    AWS_ENDPOINT_URL=.. python benchmarks/peers/stream_datasets.py s3://BUCKET/FOLDER NAME=SHARE ...

No token is made and nothing is written: this is the most that a training loop over such a stream can get. The bucket is
read through obstore, the client that mixer reads it with.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import datasets
from obstore.fsspec import register

# Of its own accord `datasets` sleeps for 5 seconds whenever a parquet source has run out.
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0


def main(folder: str, shares: dict[str, float]) -> None:
    register("s3")
    sources = [
        datasets.load_dataset("parquet", data_files=f"{folder}/{name}.parquet", split="train", streaming=True)
        for name in shares
    ]
    mixed = datasets.interleave_datasets(
        sources, probabilities=list(shares.values()), seed=1, stopping_strategy="first_exhausted"
    )
    text_bytes = sum(len(row["text"].encode()) for row in mixed)
    versions = {name: version(name) for name in ("datasets", "obstore")}
    print(json.dumps({"text_bytes": text_bytes, "versions": versions}))


if __name__ == "__main__":
    shares = dict(item.rsplit("=", 1) for item in sys.argv[2:])
    main(sys.argv[1], {name: float(share) for name, share in shares.items()})
