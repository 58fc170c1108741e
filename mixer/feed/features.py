"""A batch under the names that JAX trainers give to packed sequences; MaxText's, whose loss and attention read them."""

from __future__ import annotations

import numpy as np

from mixer.feed.sequences import IGNORED, Batch

Features = dict[str, np.ndarray]


def to_features(batch: Batch, *, across_documents: bool = False) -> Features:
    """A batch of n sequences of L tokens as six arrays, int32[n, L] each.

    `inputs` and `targets`, the id after each. `inputs_segmentation` numbers the documents of a sequence from 1 and is 0
    for padding: attention stays within a number. `inputs_position` begins anew with each. `targets_segmentation` is the
    same, but 0 where there is nothing to learn: the loss leaves these out, and `targets` is 0 there.

    Args:
        batch: the sequences.
        across_documents: whether attention and targets go on from one document of a sequence into the next; all
            tokens of a sequence then have the segmentation 1.
    """
    labels = batch.labels(across_documents=across_documents)
    segmentation, position = batch.segment_ids(), batch.position_ids()
    if across_documents:
        segmentation = np.minimum(segmentation, 1)
        position = np.broadcast_to(np.arange(labels.shape[1]), labels.shape)
    learnt = labels != IGNORED
    features = {
        "inputs": batch.input_ids,
        "inputs_position": position,
        "inputs_segmentation": segmentation,
        "targets": np.where(learnt, labels, 0),
        "targets_position": position,
        "targets_segmentation": np.where(learnt, segmentation, 0),
    }
    return {name: np.ascontiguousarray(array, dtype=np.int32) for name, array in features.items()}
