"""Write the sequences of a build as bare files of ids, for the other scripts `feed_*.py` to write in their own form.

    python benchmarks/peers/feed_sequences.py BUILD FOLDER PART

`all.bin` holds them all, `part.bin` the first PART of them. pyarrow alone reads them, so that what mixer.feed gives is
held against something else. Prints JSON: the length of a sequence and, for each file, the proof of what it holds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from feed_clock import Proof


def main(build: Path, folder: Path, part: int) -> None:
    manifest = json.loads((build / "manifest.json").read_bytes())
    length = manifest["stages"][0]["sequence"]["length"]
    folder.mkdir()
    limits = {"all": manifest["totals"]["sequences"], "part": part}
    proofs = {name: Proof() for name in limits}
    files = {name: (folder / f"{name}.bin").open("wb") for name in limits}
    done = 0
    for shard in manifest["shards"]:
        ids = (
            pa.ipc.open_file(build / f"shards/{shard['task']:05d}.arrow")
            .read_all()["input_ids"]
            .combine_chunks()
            .flatten()
        )
        sequences = np.asarray(ids).reshape(-1, length)
        for name, limit in limits.items():
            wanted = sequences[: max(0, limit - done)]
            files[name].write(wanted.tobytes())
            proofs[name].add(wanted)
        done += len(sequences)
    for file in files.values():
        file.close()
    found = {name: proof.found() for name, proof in proofs.items()}
    print(json.dumps({"length": length, "proofs": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
