"""Published figures of data sets: rows, tokens and sizes, each with its origin.

A file `NAME.yaml` is one data set; `docs/plan.md` describes its keys. The project's own come with the
package; a folder of the user's adds to them, or replaces those of the same name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mixer.errors import RecipeError, UsageError
from mixer.recipe import ContentsSpec, Recipe, Source
from mixer.recipe.fields import Bytes, Count
from mixer.recipe.problems import plain_message
from mixer.recipe.yaml_text import read_yaml
from mixer.survey.estimate import Cause, Estimate, within
from mixer.survey.profile import SourceProfile

PACKAGED = Path(__file__).parent / "facts"
OTHER_TOKENIZER = 0.1
"""How far the counts of two tokenizers with 50,000 to 130,000 entries are taken to be apart, with 95 % certainty."""
_HUB = "hf://datasets/"
_ALL_FILES = re.compile(r"[*/]*(\*\.[a-z.]+)?")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


_Names = Annotated[tuple[str, ...], Field(strict=False)]  # which YAML can only write as a list


class Figure(_Part):
    """One number, its origin and its error: the 95 % interval is `within` that share."""

    value: float
    within: Annotated[float, Field(gt=0, lt=1)]
    origin: Annotated[str, Field(alias="from", min_length=1)]
    confirmed: bool = True


class CountFigure(Figure):
    """A count of rows or tokens, such as 2590.5M."""

    value: Count


class BytesFigure(Figure):
    """A size, such as 8469GB."""

    value: Bytes


class Facts(_Part):
    """The published figures of one data set.

    A source is this one if its address names the `repository` with a config of `configs` or all files of a folder of
    `folders`; if it names exactly the files of `addresses`; or, where its files are local, if its own name is in
    `names`.
    """

    about: Annotated[str, Field(min_length=1)]
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    configs: _Names = ()
    folders: _Names = ()
    addresses: _Names = ()
    names: _Names = ()
    rows: CountFigure
    tokens: CountFigure
    tokenizer: str | None = None
    bytes_per_token: Figure
    hub_size: BytesFigure

    @property
    def tokens_per_row(self) -> float:
        """The mean row."""
        return self.tokens.value / self.rows.value


def load_facts(*folders: Path) -> dict[str, Facts]:
    """The facts of some folders by the stem of their file, sorted; those of a later folder replace an earlier's.

    Raises:
        RecipeError: a file is not a valid file of facts.
    """
    paths = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return {name: _load(path) for name, path in sorted(paths.items())}


def profiles_of_facts(recipe: Recipe, facts: Mapping[str, Facts]) -> list[SourceProfile]:
    """The profile of each source of a recipe, in its order, from published figures alone.

    Raises:
        UsageError: some sources have no facts.
    """
    found = {name: facts_of(name, source, facts) for name, source in recipe.sources.items()}
    if missing := [name for name, key in found.items() if key is None]:
        known = ", ".join(f"{name} ({fact.repository})" for name, fact in facts.items()) or "none"
        raise UsageError(
            f"there are no facts about {' and '.join(missing)}; there are facts about {known}",
            where="sources",
            hint="leave out --facts to measure the sources, or put a file of facts into manifests/facts",
        )
    return [_profile(name, recipe, key, facts[key]) for name, key in found.items() if key is not None]


def facts_of(name: str, source: Source, facts: Mapping[str, Facts]) -> str | None:
    """The facts about a source; None if there are none. An address on the hub counts more than the name."""
    if source.hub is not None:
        repository = source.hub.partition("@")[0]
        fitting = (
            key for key, fact in facts.items() if fact.repository == repository and source.config in fact.configs
        )
        return next(fitting, None)
    assert source.path is not None
    paths = [source.path] if isinstance(source.path, str) else list(source.path)
    if not any("://" in path for path in paths):
        return next((key for key, fact in facts.items() if name in fact.names), None)
    fitting = (
        key
        for key, fact in facts.items()
        if set(paths) == set(fact.addresses) or all(_is_all_of(path, fact) for path in paths)
    )
    return next(fitting, None)


def _is_all_of(path: str, fact: Facts) -> bool:
    """Whether an address means all files of the data set; the facts would overstate a part of them."""
    if not path.startswith(_HUB):
        return False
    organisation, repository, inside = (*path.removeprefix(_HUB).split("/", 2), "", "")[:3]
    if f"{organisation}/{repository.partition('@')[0]}" != fact.repository:
        return False
    return any(inside.startswith(f) and _ALL_FILES.fullmatch(inside.removeprefix(f)) for f in fact.folders)


def _profile(name: str, recipe: Recipe, key: str, fact: Facts) -> SourceProfile:
    def estimate(figure: Figure, what: str) -> Estimate:
        return within(float(figure.value), share=figure.within, cause=Cause(name=f"{what} of {key}"))

    rows = estimate(fact.rows, "rows")
    # Sources that were counted with one tokenizer are off together.
    counted = Cause(name=f"tokens of {fact.tokenizer}" if fact.tokenizer else f"tokenizer of {key}")
    other = within(1.0, share=OTHER_TOKENIZER, cause=counted)
    tokens = estimate(fact.tokens, "tokens") * (1.0 if fact.tokenizer == recipe.tokenizer_name else other)
    notes = [
        f"{name}: the figure of its {what} is not confirmed: {figure.origin}"
        for what, figure in (("rows", fact.rows), ("tokens", fact.tokens))
        if not figure.confirmed
    ]
    contents = recipe.sources[name].contents
    if contents is not None and contents.model_dump() != ContentsSpec().model_dump():
        notes.append(f"{name}: the facts are about all of its files, and `contents` keeps fewer")
    if recipe.sources[name].where is not None:
        notes.append(f"{name}: the facts are about all of its rows, and `where` keeps fewer")
    counter = f" of {fact.tokenizer}" if fact.tokenizer else ""
    return SourceProfile(
        name=name,
        num_rows=rows,
        tokens_per_row=tokens / rows,
        row_deviation=0.0,
        degrees_of_freedom=math.inf,
        bytes_per_token=estimate(fact.bytes_per_token, "bytes per token"),
        basis=f"facts/{key}.yaml: {fact.about}: {fact.rows.value:,} rows, {fact.tokens.value:,} tokens{counter}",
        notes=tuple(notes),
    )


def _load(path: Path) -> Facts:
    where = str(path)
    try:
        mapping, problems = read_yaml(path.read_bytes(), where)
        facts = Facts.model_validate(mapping)
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=where, hint="check the folder") from error
    except ValidationError as error:
        first = error.errors()[0]
        said = {"missing": "is missing", "extra_forbidden": "is not a key of a file of facts"}
        raise RecipeError(
            said.get(first["type"]) or plain_message(first),
            where=f"{where}: {'.'.join(map(str, first['loc']))}" if first["loc"] else where,
            hint="docs/plan.md describes files of facts",
        ) from error
    if problems:
        raise RecipeError(problems[0].message, where=problems[0].place, hint="write it once")
    return facts
