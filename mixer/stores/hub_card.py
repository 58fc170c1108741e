"""The configs of a data set on the hub, from the YAML of its card."""

from __future__ import annotations

from typing import Any

import yaml

from mixer.errors import DataError, RecipeError, shown_names
from mixer.stores.address import Address
from mixer.stores.listing import listed
from mixer.stores.transfer import read_bytes

_CARD = "README.md"
_SPLIT = "train"


def config_patterns(repo: Address, config: str | None, place: str) -> list[str]:
    """The patterns of a config's training files, relative to the repository.

    Without a name: the only config, or the one that the card marks as the default.

    Raises:
        RecipeError: there is no such config, or it has no training files.
        DataError: the card cannot be read.
    """
    configs = _configs(repo, place)
    if config is None and len(configs) > 1:
        configs = [one for one in configs if one.get("default") is True]
        if len(configs) != 1:
            raise _unknown("it has several configs", repo, place, _configs(repo, place))
    found = [one for one in configs if config in (None, one.get("config_name"))]
    if not found:
        raise _unknown(f"it has no config '{config}'", repo, place, configs)
    patterns = _train_patterns(found[0].get("data_files"))
    if not patterns:
        raise RecipeError(
            f"its config '{found[0].get('config_name')}' names no files of a split '{_SPLIT}'",
            where=f"{place}: {repo}",
            hint=f"give their path: {repo.with_path('...')}",
        )
    return patterns


def _configs(repo: Address, place: str) -> list[dict[str, Any]]:
    card = next((file for file in listed(repo.with_path(_CARD)) if file.path == _CARD), None)
    text = read_bytes(repo, card, 0, card.num_bytes).decode(errors="replace") if card else ""
    parts = text.removeprefix("\ufeff").split("---", 2)
    try:
        head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except yaml.YAMLError as error:
        raise DataError(f"the head of the card is not YAML: {error}", where=str(repo.with_path(_CARD))) from error
    configs = head.get("configs") if isinstance(head, dict) else None
    if not isinstance(configs, list) or not all(isinstance(one, dict) for one in configs):
        raise RecipeError(
            "its card names no configs", where=f"{place}: {repo}", hint=f"give the path: {repo.with_path('...')}"
        )
    return configs


def _train_patterns(data_files: Any) -> list[str]:
    """The patterns of the training split: from a string, a list of strings, or a list of splits with their paths."""
    if isinstance(data_files, str):
        return [data_files]
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    patterns: list[str] = []
    for item in data_files if isinstance(data_files, list) else ():
        if isinstance(item, str):
            patterns.append(item)
        elif isinstance(item, dict) and item.get("split") == _SPLIT:
            patterns += [item["path"]] if isinstance(item.get("path"), str) else item.get("path") or []
    return [pattern for pattern in patterns if isinstance(pattern, str)]


def _unknown(message: str, repo: Address, place: str, configs: list[dict[str, Any]]) -> RecipeError:
    names = [str(one.get("config_name")) for one in configs]
    return RecipeError(message, where=f"{place}: {repo}", hint=f"set config: to one of {shown_names(names)}")
