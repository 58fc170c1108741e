"""From a user's files to a recipe: find them, inspect them, count rows, write the recipe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mixer.errors import DataError, RecipeError
from mixer.intake.columns import text_of
from mixer.intake.draft import DraftSource, draft, relative
from mixer.intake.find import find_sources
from mixer.intake.group import LeftOut, unique_name
from mixer.intake.look import SeenSource, look
from mixer.recipe import Source, parse_recipe
from mixer.recipe.yaml_text import read_yaml
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.system.progress import OnAdvance

_MAX_COUNTED_BYTES = 20 * 10**9
"""Text files of at most this size are read in full to count their rows; the counts are kept for `mixer plan`."""
_WITH_FOOTER = ("parquet", "arrow", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A recipe for some data, and its sources."""

    text: str
    sources: tuple[DraftSource, ...]
    left_out: tuple[LeftOut, ...]


def seen_sources(data: Sequence[str], folder: Path) -> tuple[dict[str, SeenSource], list[LeftOut]]:
    """The sources of the arguments, by name, each inspected.

    Raises:
        RecipeError: an argument matches nothing that mixer reads.
        DataError: no file can be read.
    """
    found, left_out = find_sources(data, folder)
    named: dict[str, SeenSource] = {}
    taken: set[str] = set()
    for one in found:
        seen, others = look(one)
        left_out += others
        for each in seen:
            named[unique_name(one.name, each.found.format, taken)] = each
    if not named:
        if not left_out:
            raise DataError("no files found", hint="give files, folders, globs or addresses")
        more = f" (and so for {len(left_out) - 1:,} more)" if len(left_out) > 1 else ""
        raise DataError(
            f"{left_out[-1].why}{more}",
            where=left_out[-1].name,
            hint="check that the file is complete, and that its name shows its format",
        )
    return named, left_out


def begin(
    data: Sequence[str],
    *,
    folder: Path,
    recipe: Path,
    cache: PinCache,
    made_from: str,
    on_pin: OnAdvance,
) -> Beginning:
    """A recipe that uses every row of some data once.

    Args:
        data: files, folders, globs and addresses.
        folder: where relative ones start.
        recipe: where the recipe is to be.
        cache: where counted rows are kept.
        made_from: the command line, for a comment.
        on_pin: called with how far the rows of a source are counted.

    Raises:
        RecipeError: an argument matches nothing that mixer reads.
        DataError: no file holds a text, or one cannot be read.
    """
    named, left_out = seen_sources(data, folder)
    place = os.path.abspath(recipe.parent)
    sources = []
    for name, seen in named.items():
        if seen.choice is None and seen.contents is None:
            shown = ", ".join(f"'{column.path}'" for column in seen.columns[:10])
            why = f"no column of text; columns are {shown}" if seen.rows else "no rows"
            left_out.append(LeftOut(name=_shown(seen), why=why))
            continue
        try:
            seen = _counted(name, seen, cache, on_pin)
        except (DataError, RecipeError) as error:  # what a plan would refuse; the other sources are of use without it
            left_out.append(LeftOut(name=_shown(seen), why=f"{error.where}: {error.message}"))
            continue
        if seen.num_rows == 0:
            left_out.append(LeftOut(name=_shown(seen), why="no rows"))
            continue
        paths = tuple(path if seen.found.is_remote else relative(path, place) for path in seen.found.paths)
        rows = seen.num_rows if seen.is_counted else int(float(f"{seen.num_rows:.3g}"))
        sources.append(DraftSource(name=name, seen=seen, paths=paths, num_rows=rows, is_counted=seen.is_counted))
    if not sources:
        raise DataError(
            f"holds no text: {left_out[-1].why}",
            where=left_out[-1].name,
            hint="`mixer head` shows what the files hold",
        )
    left_out = [
        replace(one, name=relative(one.name, str(folder))) if one.name.startswith("/") else one for one in left_out
    ]
    text = draft(sources, left_out, recipe=str(recipe), made_from=made_from)
    mapping, _ = read_yaml(text.encode(), str(recipe))
    parse_recipe(mapping, where=str(recipe), default_name=recipe.stem)
    return Beginning(text=text, sources=tuple(sources), left_out=tuple(left_out))


def _counted(name: str, seen: SeenSource, cache: PinCache, on_pin: OnAdvance) -> SeenSource:
    """The source with its rows counted as a plan counts them, if that is cheap; errors of a plan appear here."""
    found = seen.found
    if found.is_remote or seen.contents is not None:
        return seen
    if found.format not in _WITH_FOOTER and found.num_bytes > _MAX_COUNTED_BYTES:
        return seen
    text = "text" if seen.choice is None else text_of(seen.choice.column.path)
    source = Source.model_validate({"weight": 1, "path": list(found.paths), "format": _format(seen), "text": text})
    snapshot = pin(name, source, Path("/"), cache, on_pin)
    return replace(seen, num_rows=snapshot.num_rows, is_counted=True)


def _format(seen: SeenSource) -> str:
    return "auto" if seen.found.is_told_by_name else seen.found.format


def _shown(seen: SeenSource) -> str:
    return seen.found.hub or seen.found.paths[0]
