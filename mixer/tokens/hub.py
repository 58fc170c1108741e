"""The `tokenizer.json` of a repository of the Hugging Face hub, by its own client and from its cache."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mixer.errors import RecipeError, TokenizerError

_ANSWER_SECONDS = 4.0
"""How long the hub may take to answer a first, small request."""


def hub_file(repo: str) -> Path:
    """The `tokenizer.json` of a hub repository, from the hub, or from its local cache if the hub does not answer.

    One request without a second try tells whether there is a hub: its client would try for half a minute.

    Raises:
        RecipeError: there is no such repository or file, or no access to it.
        TokenizerError: no network and nothing in the cache, or the package huggingface_hub is missing.
    """
    try:
        from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    except ImportError as error:
        raise TokenizerError(
            f"a tokenizer from the hub needs the package {error.name}",
            where=f"tokenizer {repo}",
            hint="pip install 'mixer-data[remote]', or give a path to a tokenizer.json",
        ) from error

    silence: Exception | None = None
    with _quiet():
        try:
            get_hf_file_metadata(hf_hub_url(repo, "tokenizer.json"), token=get_token(), timeout=_ANSWER_SECONDS)
        except GatedRepoError as error:
            raise RecipeError(
                f"{repo} is a gated repository of the hub",
                where="tokenizer",
                hint="ask for access on its page and log in with `hf auth login` or HF_TOKEN",
            ) from error
        except RepositoryNotFoundError as error:
            raise RecipeError(
                f"there is no file {repo}, and the hub has no such repository or hides it from you",
                where="tokenizer",
                hint="check the id, and your token (HF_TOKEN)",
            ) from error
        except EntryNotFoundError as error:
            raise RecipeError(
                f"{repo} has no tokenizer.json on the hub",
                where="tokenizer",
                hint="name a repository that has one, or give a path to a tokenizer.json",
            ) from error
        except HfHubHTTPError as error:
            if error.response.status_code not in (401, 403):
                silence = error
            else:
                raise RecipeError(
                    f"the hub refuses access to {repo}",
                    where="tokenizer",
                    hint="check the id, and your token (`hf auth login` or HF_TOKEN)",
                ) from error
        except Exception as error:  # the client raises many kinds, among them those of its HTTP library
            silence = error
        local = silence is not None
        try:
            path = Path(hf_hub_download(repo, "tokenizer.json", local_files_only=local))
            with suppress(EntryNotFoundError):  # not every repository has one; it names BOS, EOS and padding
                hf_hub_download(repo, "tokenizer_config.json", local_files_only=local)
        except Exception as error:
            reason = str(silence or error).strip().splitlines()[0]
            raise TokenizerError(
                f"the hub does not answer ({reason}), and its cache on this machine has no tokenizer.json of {repo}",
                where=f"tokenizer {repo}",
                hint="download it where there is a network (`hf download`) and set HF_HOME to that cache, or give a "
                "path to a tokenizer.json",
            ) from error
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the client's own messages about retries: a failure is reported once, as an error."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
