"""The parameters of filters: what a recipe gives, checked, and as JSON for the identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

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
    """spaces: at white space, as `str.split`. spacy: datatrove's default, 10 to 50 times as slow."""


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
        where = f"{place}.{details[0]['loc'][0]}" if len(problems) == 1 and details[0]["loc"] else place
        message = problems[0] if len(problems) == 1 else f"{len(problems)} problems: " + "; ".join(problems)
        hint = f"{name} takes {', '.join(known)}"
        raise RecipeError(printable(message), where=printable(where), hint=hint) from None


def _problem(detail: Mapping[str, Any], known: tuple[str, ...]) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = Unknown(name=key, known=known)
        return f"{key!r} is not a parameter{near}"
    return f"{key} {plain_message(detail)}"


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
