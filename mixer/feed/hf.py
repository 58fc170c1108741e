"""Hugging Face: a collator for rows of `datasets.load_dataset(OUT)`, as `transformers.Trainer` takes it.

    rows = datasets.load_dataset("out/my-mixture", split="train")
    arguments = TrainingArguments(output_dir="runs", remove_unused_columns=False)
    Trainer(model, arguments, train_dataset=rows, data_collator=Collator("out/my-mixture")).train()

The columns have to stay (`remove_unused_columns=False`): the collator reads them. The causal models of transformers
shift `labels` themselves and so lose each sequence's last position; they take `shift_labels` as they are. Both are
given: `labels` to ask for a loss, `shift_labels` to say what it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixer.feed.sequences import Batch, document_ends
from mixer.shards.manifest import load_manifest


class Collator:
    """Makes the batch of some rows.

    Args:
        build: a folder or a manifest; only the manifest is read.
        across_documents: whether a document's last token is to predict the next document's first.
        flatten: one row of all tokens with the borders that flash attention takes, so that no document sees another;
            otherwise the rows under each other, with `position_ids` that start anew at every border.
    """

    def __init__(self, build: str | Path, *, across_documents: bool = False, flatten: bool = False) -> None:
        self._manifest = load_manifest(Path(build))
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
