"""The parameters of filters: what a recipe gives, checked, and as JSON for the identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mixer.digest import decimal_text
from mixer.errors import RecipeError
from mixer.recipe.problems import Unknown, plain_message, printable

Splitter = Literal["spaces", "spacy"]
P = TypeVar("P", bound="FilterParameters")


class FilterParameters(BaseModel):
    """What all filters with parameters of their own have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class WordParameters(FilterParameters):
    """Of filters that count words."""

    splitter: Splitter = "spaces"
    """spaces: at white space, as `str.split`. spacy: datatrove's default, many times as slow."""
    language: str = "eng"
    """The language for spaCy, by datatrove's code."""

    @model_validator(mode="after")
    def _check_language(self) -> Self:
        if self.splitter == "spaces" and "language" in self.model_fields_set:
            raise ValueError("'language' is for splitter: spacy; white space is that of all languages")
        return self

    @property
    def is_columnar(self) -> bool:
        """Whether the rules in columns can take these parameters; else datatrove's code has to."""
        return self.splitter == "spaces"


def parsed(kind: type[P], given: Mapping[str, Any], name: str, place: str) -> P:
    """The parameters of a filter.

    Args:
        kind: the filter's parameters.
        given: what the recipe says.
        name: the filter, for messages.
        place: of the filter in the recipe.

    Raises:
        RecipeError: a parameter is unknown, or has a value that it does not take.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        details = error.errors(include_url=False)
        known = tuple(kind.model_fields)
        problems = [_problem(detail, known) for detail in details]
        way = details[0]["loc"] if len(details) == 1 and details[0]["type"] != "extra_forbidden" else ()
        if not way:
            keys = (".".join(map(str, detail["loc"])) for detail in details)
            problems = [f"{key} {one}".strip() for key, one in zip(keys, problems)]
        message = problems[0] if len(problems) == 1 else f"{len(problems)} problems: {'; '.join(problems)}"
        where = ".".join([f"{place}.parameters", *map(str, way)])
        hint = f"{name} takes {', '.join(known)}"
        raise RecipeError(printable(message), where=printable(where), hint=hint) from None


def parsed_words(given: Mapping[str, Any], name: str, place: str) -> WordParameters:
    """How a class of datatrove's splits words: the parameters of this alone, of all that are given.

    Raises:
        RecipeError: a value is unknown.
    """
    own = {key: value for key, value in given.items() if key in WordParameters.model_fields}
    return parsed(WordParameters, own, name, place)


def refuse_unknown(given: Mapping[str, Any], known: Sequence[str], name: str, place: str) -> None:
    """Check the names of parameters.

    Raises:
        RecipeError: one is not known.
    """
    for key in given:
        if key not in known:
            hint = f"{name} takes {', '.join(known) or 'no parameters'}"
            raise RecipeError(printable(f"{key} {_not_known(key, known)}"), where=f"{place}.parameters", hint=hint)


def _problem(detail: Mapping[str, Any], known: tuple[str, ...]) -> str:
    if detail["type"] == "extra_forbidden":
        return _not_known(detail["loc"][0], known)
    return "is missing" if detail["type"] == "missing" else plain_message(detail)


def _not_known(key: Any, known: Sequence[str]) -> str:
    return f"is not a parameter{Unknown(name=key, known=tuple(known))}"


def as_json(value: Any) -> Any:
    """A parameter's value for the identity: numbers with a fraction are decimals in a string."""
    match value:
        case float():
            return decimal_text(value)
        case list() | tuple():
            return [as_json(one) for one in value]
        case Mapping():
            return {str(key): as_json(one) for key, one in value.items()}
    return value
