"""Measurements kept between runs: a build uses the sample of its plan, and does not read it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.digest import identity
from mixer.survey.measurement import Measurement
from mixer.system.publish import publish_bytes
from mixer.system.regular_files import parse_json, read_regular

if TYPE_CHECKING:
    from mixer.recipe import Recipe, Source
    from mixer.sources.snapshot import Snapshot

_VERSION = 1
"""Raised when a sample comes to be another for the same key."""


def is_thorough(snapshot: Snapshot, recipe: Recipe) -> bool:
    """Whether a source gets the larger sample: a local source, or one whose weight depends on it."""
    return snapshot.origin is None or recipe.weights == "tokens"


def measurement_key(name: str, source: Source, snapshot: Snapshot, fingerprint: str, recipe: Recipe) -> str:
    """The identity of everything that a measurement depends on."""
    return identity(
        {
            "version": _VERSION,
            "name": name,
            "snapshot": snapshot.identity,
            "kept": snapshot.kept_json(),
            "where": source.where,
            **({} if snapshot.kept_rows is None else snapshot.kept_rows.as_json()),
            "text": source.text.model_dump(mode="json"),
            "tokenizer": fingerprint,
            "specials": [recipe.sequence.bos, recipe.sequence.eos],
            "max_document_tokens": recipe.max_document_tokens,
            "on_bad_row": recipe.on_bad_row,
            "seed": recipe.seed,
            "thorough": is_thorough(snapshot, recipe),
        }
    )


class MeasurementCache:
    """A folder with one small JSON file per measurement; losing it costs only time.

    Args:
        folder: the cache's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "measured"

    def recall(self, key: str) -> Measurement | None:
        """The measurement of a key; None if it is missing or damaged."""
        try:
            entry = parse_json(read_regular(self._folder / f"{key}.json"))
            # Weights in tokens are made from it: a flipped bit must not change a build.
            if entry["digest"] != _digest(entry["measurement"]):
                return None
            return Measurement(**entry["measurement"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, key: str, measured: Measurement) -> None:
        """Keep a measurement, if the folder can be written to."""
        fields = asdict(measured)
        try:
            data = json.dumps({"measurement": fields, "digest": _digest(fields)}).encode()
            publish_bytes(self._folder / f"{key}.json", data, durable=False)
        except OSError:
            return  # A full or read-only home folder must not stop a build.


def _digest(fields: dict[str, object]) -> str:
    return identity([f"{name}={value!r}" for name, value in sorted(fields.items())])
