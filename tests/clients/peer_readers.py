"""The trainers' own readers over an export, in processes of their own: they start threads, pools and shared memory.

peer_readers.py READER FOLDER RESULT.npz
"""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Result = dict[str, np.ndarray]


def joined(name: str, lists: Iterable[Any]) -> Result:
    """Lists of different lengths as one array and their lengths."""
    arrays = [np.asarray(one).reshape(-1) for one in lists]
    return {name: np.concatenate(arrays), f"{name}_lengths": np.array([len(one) for one in arrays])}


def mds(folder: Path) -> Result:
    """MosaicML Streaming: sample by sample from the end, as batches, shuffled, and written by its own writer."""
    # The package's own __init__ imports torchvision for its data sets of images.
    package = ModuleType("streaming")
    package.__path__ = list(importlib.util.find_spec("streaming").submodule_search_locations)
    sys.modules["streaming"] = package
    from streaming.base import LocalDataset, MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    local = LocalDataset(local=str(folder))
    samples = [local[number] for number in reversed(range(len(local)))][::-1]
    streamed = StreamingDataset(local=str(folder), batch_size=4, num_canonical_nodes=1)
    batches = list(DataLoader(streamed, batch_size=4))
    shuffled = StreamingDataset(local=str(folder), batch_size=4, shuffle=True, shuffle_seed=1)

    files = json.loads((folder / "index.json").read_bytes())["shards"]
    same, first = [], 0
    for entry in files:
        columns = dict(zip(entry["column_names"], entry["column_encodings"], strict=True))
        with tempfile.TemporaryDirectory() as out:
            with MDSWriter(out=out, columns=columns) as writer:
                for sample in samples[first : first + entry["samples"]]:
                    writer.write(sample)
            (own,) = json.loads((Path(out) / "index.json").read_bytes())["shards"]
            basename = own["raw_data"]["basename"]
            bytes_are = (Path(out) / basename).read_bytes() == (folder / entry["raw_data"]["basename"]).read_bytes()
            own["raw_data"]["basename"] = entry["raw_data"]["basename"]
            same.append(bytes_are and own == entry)
        first += entry["samples"]
    return {
        **{name: np.stack([sample[name] for sample in samples]) for name in ("tokens", "next_id", "num_pad")},
        **joined("cu_seqlens", (np.frombuffer(sample["cu_seqlens"], dtype="<i4") for sample in samples)),
        **{f"batched_{name}": np.concatenate([one[name].numpy() for one in batches]) for name in ("tokens", "next_id")},
        **joined("batched_cu_seqlens", (np.frombuffer(one, "<i4") for batch in batches for one in batch["cu_seqlens"])),
        "shuffled": np.stack([sample["tokens"] for sample in shuffled]),
        "as_its_writer": np.array(same),
    }


def litdata(folder: Path) -> Result:
    """LitData: block by block from the end, as batches of two workers, shuffled, and written by its own writer."""
    import torch
    from litdata import StreamingDataLoader, StreamingDataset, TokensLoader
    from litdata.streaming.writer import BinaryWriter

    block = json.loads((folder / "export.json").read_bytes())["sequence_length"] + 1

    def rows(**options: Any) -> StreamingDataset:
        return StreamingDataset(str(folder), item_loader=TokensLoader(block_size=block), **options)

    blocks = rows()
    samples = [blocks[number] for number in reversed(range(len(blocks)))][::-1]
    batches = list(StreamingDataLoader(rows(), batch_size=4, num_workers=2))

    files = json.loads((folder / "index.json").read_bytes())["chunks"]
    same, first = [], 0
    for entry in files:
        with tempfile.TemporaryDirectory() as out:
            writer = BinaryWriter(out, chunk_bytes=1 << 26, item_loader=TokensLoader())
            for number in range(entry["chunk_size"]):
                writer[number] = samples[first + number]
            writer.done()
            writer.merge()
            index = json.loads((Path(out) / "index.json").read_bytes())
            (own,) = index["chunks"]
            same.append((Path(out) / own["filename"]).read_bytes() == (folder / entry["filename"]).read_bytes())
            same.append({**own, "filename": entry["filename"]} == entry)
            config = json.loads((folder / "index.json").read_bytes())["config"]
            same.append({name: index["config"][name] for name in config} == config)
        first += entry["chunk_size"]
    return {
        "blocks": torch.stack(samples).numpy(),
        "iterated": torch.stack(list(rows())).numpy(),
        "batched": torch.cat(batches).numpy(),
        "shuffled": torch.stack(list(rows(shuffle=True))).numpy(),
        "as_its_writer": np.array(same),
    }


def olmo(folder: Path) -> Result:
    """OLMo-core: windows of the stream, and documents packed by its own packer, with the borders of the export."""
    from olmo_core.data import LongDocStrategy, NumpyFSLDataset, NumpyPackedFSLDataset

    record = json.loads((folder / "export.json").read_bytes())
    tokenizer, length = record["tokenizer"], record["sequence_length"]
    paths = sorted(map(str, folder.glob("*.npy")))
    common = {
        "sequence_length": length,
        "pad_token_id": tokenizer["pad_id"],
        "eos_token_id": tokenizer["eos_id"],
        "vocab_size": tokenizer["vocab_size"],
        "dtype": getattr(np, record["dtype"]),
    }
    windows = NumpyFSLDataset(*paths, **common)
    packed = NumpyPackedFSLDataset(
        *paths,
        **common,
        use_array_if_local=False,
        long_doc_strategy=LongDocStrategy.fragment,
        generate_doc_lengths=True,
    )
    with tempfile.TemporaryDirectory() as work:
        packed.work_dir = Path(work)
        packed.prepare()
        pieces = []
        for item in (packed[number] for number in range(len(packed))):
            ids, num_tokens = item["input_ids"].numpy(), int(item["label_mask"].sum())
            stops = np.cumsum(item["doc_lens"].numpy())
            pieces += np.split(ids[:num_tokens], stops[stops < num_tokens])
    return {
        "windows": np.stack([windows[number]["input_ids"].numpy() for number in range(len(windows))]),
        **joined("pieces", pieces),
    }


READERS: dict[str, Callable[[Path], Result]] = {one.__name__: one for one in (mds, litdata, olmo)}

if __name__ == "__main__":
    # As in the foreground: a shell's background jobs ignore SIGINT, and so would the readers' own processes.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reader, folder, result = sys.argv[1:]
    np.savez(result, **READERS[reader](Path(folder)))
