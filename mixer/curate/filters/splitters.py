"""Splitters of words and sentences for datatrove's own code. Only imported where datatrove is there."""

from __future__ import annotations

from importlib.metadata import version

from datatrove.utils import word_tokenizers
from datatrove.utils.word_tokenizers import WordTokenizer

from mixer.curate.filters.parameters import Splitter
from mixer.curate.filters.sentences import sentence_spans
from mixer.errors import RecipeError
from mixer.extras import MissingPackages, missing_package
from mixer.recipe.problems import Unknown


class SpacesTokenizer(WordTokenizer):
    """Words by `str.split`, sentences by sentences.py."""

    def word_tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """The sentences of a text."""
        return [text[start:stop] for start, stop in sentence_spans(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Where the sentences of a text start and stop."""
        return sentence_spans(text)


def load_splitter(splitter: Splitter, language: str, place: str) -> WordTokenizer:
    """What splits texts.

    Args:
        splitter: spaces or spacy.
        language: datatrove's code of a language, such as eng; for spaCy alone.
        place: of the filter in the recipe.

    Raises:
        RecipeError: there is no such language, or spaCy is not what splits it.
        MissingPackages: spaCy is not installed.
    """
    if splitter == "spaces":
        return SpacesTokenizer()
    known = word_tokenizers.load_tokenizer_assignments()
    where = f"{place}.parameters.language"
    if language not in known:
        near = Unknown(name=language, known=tuple(known))
        raise RecipeError(f"{language!r} is not a language that datatrove splits{near}", where=where)
    try:
        import spacy  # noqa: F401

        found = word_tokenizers.load_word_tokenizer(language)
    except ImportError as error:
        raise package_missing_in_datatrove(error, f"splitting {language!r}") from error
    if not isinstance(found, word_tokenizers.SpaCyTokenizer):
        kind = type(found).__name__
        raise RecipeError(f"datatrove splits {language!r} by its {kind}, not by spaCy", where=where)
    return found


def package_missing_in_datatrove(error: ImportError, doing: str) -> MissingPackages:
    """The error for a package that datatrove's code needs; datatrove says which, if it is not one of the extra's."""
    if error.name:
        return missing_package(error, "curate", doing)
    return MissingPackages(f"{doing} needs packages that are not installed: {error}")


def splitter_identity(splitter: Splitter, language: str) -> dict[str, str]:
    """What the words depend on."""
    if splitter == "spaces":
        return {"splitter": "spaces"}
    return {"splitter": f"spacy {version('spacy')}", "language": language}
