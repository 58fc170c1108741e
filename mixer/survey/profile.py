"""The facts about one source before it is mixed, from a sample or from published figures."""

from __future__ import annotations

from dataclasses import dataclass

from mixer.survey.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProfile:
    """One source as a forecast sees it.

    `num_rows` can be drawn. `row_deviation` is the spread of the tokens of single rows as a share of their mean, known
    from a sample with so many `degrees_of_freedom`; 0.0 if not known. `basis` says where it all comes from, `notes`
    what to doubt.
    """

    name: str
    num_rows: Estimate
    tokens_per_row: Estimate
    row_deviation: float
    degrees_of_freedom: float
    bytes_per_token: Estimate
    basis: str
    notes: tuple[str, ...] = ()
