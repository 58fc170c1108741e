"""Profiles of sources from their pinned files and a tokenized sample of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixer.survey.estimate import Cause, Estimate, uncertain
from mixer.survey.profile import SourceProfile

if TYPE_CHECKING:
    from mixer.survey.measurement import Measurement
    from mixer.survey.result import Survey


def profiles_of_sources(surveyed: Survey) -> list[SourceProfile]:
    """The profile of each source of a survey, in its order: the figures that a build uses, with their errors. Pure."""
    profiles = []
    for name, snapshot in surveyed.snapshots.items():
        if name in surveyed.samples:
            profiles.append(_profile_of_sample(name, surveyed))
            continue
        notes = [] if snapshot.note is None else [f"{name}: {snapshot.note}"]
        if surveyed.lacks_curation:
            notes.append(f"{name}: not curated yet, so all its rows are counted; mixer curate finds out which stay")
        profiles.append(profile_of(name, surveyed.measured[name], num_rows=snapshot.num_kept, notes=tuple(notes)))
    return profiles


def _profile_of_sample(name: str, surveyed: Survey) -> SourceProfile:
    """The profile of a source with only a sample of its contents: its number of rows with text is an estimate."""
    sample = surveyed.samples[name]
    measured, kept = surveyed.measured[name], sample.kept
    rows = uncertain(
        float(sample.num_kept),
        standard_error=sample.num_rows * kept.standard_error,
        cause=Cause(name=f"rows of {name}", degrees_of_freedom=float(kept.degrees_of_freedom)),
    )
    notes = [f"{name}: its contents are not fetched yet; of a sample of {sample.num_read:,} rows they are"]
    if (note := surveyed.snapshots[name].note) is not None:
        notes.append(f"{name}: {note}")
    return profile_of(name, measured, num_rows=sample.num_kept, rows=rows, notes=tuple(notes))


def profile_of(
    name: str,
    measured: Measurement,
    *,
    num_rows: int,
    rows: Estimate | None = None,
    notes: tuple[str, ...] = (),
) -> SourceProfile:
    """The profile of a source whose mean row was measured. Pure.

    Args:
        name: the source.
        measured: its rows, measured.
        num_rows: how many it has.
        rows: the same with its error, where it is not known for certain.
        notes: what else there is to say of it.
    """
    mean, degrees = measured.tokens_per_row, float(measured.degrees_of_freedom)
    return SourceProfile(
        name=name,
        num_rows=rows or Estimate(value=float(num_rows)),
        tokens_per_row=uncertain(
            mean,
            standard_error=measured.standard_error,
            cause=Cause(name=f"sample of {name}", degrees_of_freedom=degrees),
        ),
        row_deviation=measured.row_deviation / mean,
        degrees_of_freedom=degrees,
        # Bytes and tokens of a row rise and fall together: their ratio is known far better than either.
        bytes_per_token=Estimate(value=measured.bytes_per_row / mean),
        basis=f"a sample of {measured.num_rows:,} of {num_rows:,} rows, {measured.num_bytes:,} bytes of text",
        notes=notes,
    )
