"""Hugging Face: a build as a data set of `datasets`, and a collator for its rows, as `transformers.Trainer` takes it.

    rows = load("out/my-mixture")
    arguments = TrainingArguments(output_dir="runs", remove_unused_columns=False)
    Trainer(model, arguments, train_dataset=rows, data_collator=Collator("out/my-mixture", rows)).train()

`datasets.load_dataset(OUT)` gives the same rows from a copy that it makes in its cache; `load` maps the shards instead.
The columns have to stay (`remove_unused_columns=False`): the collator reads them. The causal models of transformers
shift `labels` themselves and so lose each sequence's last position; they take `shift_labels` as they are. Both are
given: `labels` to ask for a loss, `shift_labels` to say what it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from mixer.errors import IntegrityError
from mixer.feed.hf_table import ShardsTable
from mixer.feed.mapped import Verify
from mixer.feed.sequences import Batch, document_ends, open_build
from mixer.shards.card import build_description
from mixer.shards.manifest import load_manifest
from mixer.shards.records import Manifest


def load(build: str | Path, *, verify: Verify = "size") -> datasets.Dataset:
    """The sequences of a build as a data set, in the order of the manifest; its rows are the shards', mapped.

    Nothing is copied, into memory or into the cache of `datasets`; pickled for a worker, it is a list of paths. All
    shards are mapped at once, with some 10 kB for each record batch (64 sequences of 8192 tokens): for a build of more
    than a trillion tokens take `mixer.feed.torch.TrainLoader`.

    Args:
        build: a folder or a manifest.
        verify: what is checked of each shard besides its structure: nothing, its `size`, or its `digest` too.

    Raises:
        IntegrityError: the manifest or a shard is missing or damaged.
        FormatError: the manifest is of another version.
        UsageError: `verify` is not nothing, size or digest.
    """
    sequences = open_build(build, verify=verify)
    for _ in (columns for shard in range(len(sequences.manifest.shards)) for columns in sequences.iter_columns(shard)):
        pass  # it is the checks that are wanted: `datasets` reads what it is given unchecked
    sequences.close()
    manifest = sequences.manifest
    return datasets.Dataset(
        ShardsTable(tuple((sequences.folder / shard.path).resolve() for shard in manifest.shards)),
        info=datasets.DatasetInfo(description=build_description(manifest)),
        split=datasets.Split.TRAIN,
        fingerprint=manifest.id,
    )


class Collator:
    """Makes the batch of some rows.

    Args:
        build: a folder or a manifest; only the manifest is read.
        dataset: the data set that the rows come from, from `load` or `datasets.load_dataset`, whatever was done with it
            since; it is checked to be of this build. None: nothing is checked.
        across_documents: whether a document's last token is to predict the next document's first.
        flatten: one row of all tokens with the borders that flash attention takes, so that no document sees another;
            otherwise the rows under each other, with `position_ids` that start anew at every border.

    Raises:
        IntegrityError: the manifest is missing or damaged, or the data set is from another build.
        FormatError: the manifest is of another version.
    """

    def __init__(
        self,
        build: str | Path,
        dataset: datasets.Dataset | datasets.IterableDataset | None = None,
        *,
        across_documents: bool = False,
        flatten: bool = False,
    ) -> None:
        self._manifest = load_manifest(Path(build))
        if dataset is not None:
            _check_build(dataset.info.description, self._manifest, where=str(build))
        self._across_documents = across_documents
        self._flatten = flatten

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The batch of n rows of L tokens.

        Returns:
            `input_ids`, `labels`, `shift_labels`, `position_ids`: int64[n, L], or [1, n x L] with `flatten`, and then
            `cu_seq_lens_q`, `cu_seq_lens_k` int32[runs + 1], `max_length_q`, `max_length_k` ints.
        """
        batch = self._batch(rows)
        arrays = {
            "input_ids": batch.input_ids.astype(np.int64),
            "labels": batch.input_ids.astype(np.int64),
            "shift_labels": batch.labels(across_documents=self._across_documents),
            "position_ids": batch.position_ids(),
        }
        if not self._flatten:
            return {name: torch.from_numpy(array) for name, array in arrays.items()}
        made: dict[str, Any] = {name: torch.from_numpy(array.reshape(1, -1)) for name, array in arrays.items()}
        borders, longest = torch.from_numpy(batch.cu_seqlens()), batch.max_seqlen()
        made |= {"cu_seq_lens_q": borders, "cu_seq_lens_k": borders}
        return made | {"max_length_q": longest, "max_length_k": longest}

    def _batch(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        def joined(name: str, kind: type, skip: int = 0) -> np.ndarray:
            return np.concatenate([np.asarray(row[name], dtype=kind)[skip:] for row in rows])

        input_ids = np.stack([np.asarray(row["input_ids"], dtype=np.int32) for row in rows])
        next_id = np.array([row["next_id"] for row in rows], dtype=np.int32)
        return Batch(
            input_ids=input_ids,
            next_id=next_id,
            num_pad=np.array([row["num_pad"] for row in rows], dtype=np.int32),
            document_ends=document_ends(self._manifest, input_ids, next_id),
            run_counts=np.array([len(row["segment_source"]) for row in rows], dtype=np.int64),
            run_stops=joined("cu_seqlens", np.int32, skip=1),
            source=joined("segment_source", np.int16),
            row=joined("segment_row", np.int64),
            pass_number=joined("segment_pass", np.int32),
            start=joined("segment_start", np.int32),
        )


def _check_build(description: str | None, manifest: Manifest, *, where: str) -> None:
    """Refuse a data set that is not from this build.

    Raises:
        IntegrityError: its description names another build or no build.
    """
    if description == (expected := build_description(manifest)):
        return
    found = f"of {description!r:.200}" if description else "of no build: it has no description"
    raise IntegrityError(
        f"the data set is {found}; the rows of {expected!r} are expected",
        where=where,
        hint="load the data set from this folder, with mixer.feed.hf.load or datasets.load_dataset",
    )
