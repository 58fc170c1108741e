"""Arguments that several verbs share, and the default folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixer.errors import UsageError
from mixer.system.local_paths import check_local

if TYPE_CHECKING:
    from mixer.stores.block_cache import BlockCache


def on_this_machine(param: typer.CallbackParam, path: Path | None) -> Path | None:
    """The path as it was given; the callback of every argument that names a file or folder.

    Raises:
        UsageError: it is the address of a store.
    """
    if path is not None:
        check_local(path, where=param.opts[0] if param.param_type_name == "option" else str(param.metavar))
    return path


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Wide = Annotated[bool, typer.Option("--wide", help="Show all columns, even if they do not fit the terminal.")]
RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.", callback=on_this_machine)
]
Build = Annotated[
    Path, typer.Argument(metavar="OUT", help="The folder of a build, or its manifest.json.", callback=on_this_machine)
]
Root = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The root of the recipe's relative paths.", callback=on_this_machine),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The cache of tokenizers and row counts. Default: $MIXER_CACHE or ~/.cache/mixer.",
        callback=on_this_machine,
    ),
]


def cache_dir(given: Path | None) -> Path:
    """The cache folder: the one given, or the default.

    Raises:
        UsageError: `$MIXER_CACHE` is the address of a store, or neither it nor a home folder exists.
    """
    from mixer.sources.pin_cache import default_cache_dir

    try:
        folder = given or default_cache_dir()
    except RuntimeError as error:  # an account without a home folder, as containers have
        raise UsageError(
            "no home folder for the cache",
            where="$MIXER_CACHE",
            hint="set MIXER_CACHE, or give --cache DIR",
        ) from error
    check_local(folder, where="--cache" if given else "$MIXER_CACHE")
    return folder


def build_folder(path: Path) -> Path:
    """The folder of a build, from that folder or its manifest."""
    return path if path.is_dir() else path.parent


def remembered_root(folder: Path) -> Path | None:
    """The root that a build was made with, if its log has one."""
    root = _build_log(folder).get("root")
    return Path(root) if isinstance(root, str) else None


def known_root(folder: Path, recipe: Path | None, root: Path | None, verb: str) -> Path:
    """The root of a build's sources: the option if given, else the root in its log.

    Raises:
        UsageError: neither has a root.
    """
    found = root or (recipe.parent if recipe else remembered_root(folder))
    if found is None:
        raise UsageError(f"{verb} needs the root of the sources", hint="give --recipe or --root")
    return found


def remembered_blocks(folder: Path) -> BlockCache | None:
    """The build's cache of remote blocks and fetched contents, if its log names one that exists."""
    from mixer.stores.block_cache import BlockCache

    match _build_log(folder).get("cache"):
        case {"dir": str(place), "size": int(size)} if Path(place).is_dir():
            return BlockCache(folder=Path(place), max_bytes=size)
    return None


def _build_log(folder: Path) -> dict[str, Any]:
    try:
        log = json.loads((folder / "build-log.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return log if isinstance(log, dict) else {}


def manifests_dir(recipe: Path) -> Path:
    """The folder for copies of manifests: `manifests` beside a folder `recipes`, else in the recipe's folder."""
    folder = recipe.resolve().parent
    return (folder.parent if folder.name == "recipes" else folder) / "manifests"
