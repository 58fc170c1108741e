"""mixer: decide, build and feed the data mixture of a language model.

    recipe = mixer.load_recipe("my-mixture.yaml")
    mixer.build(recipe, "out/my-mixture")
    batch = mixer.open("out/my-mixture")[:8]

A name is imported when it is first used: `import mixer` itself loads none of the packages that mixer depends on, and
`mixer.open` needs NumPy and PyArrow alone. `docs/python.md` shows each name at work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixer.api import build, export_build, plan_recipe, verify_build
    from mixer.errors import MixerError
    from mixer.feed.cursor import Cursor
    from mixer.feed.order import Order
    from mixer.feed.sequences import Batch, SequenceSet
    from mixer.feed.sequences import open_build as open
    from mixer.plan.forecast import Forecast
    from mixer.recipe import Recipe, load_recipe
    from mixer.shards.manifest import load_manifest
    from mixer.shards.records import Manifest

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Cursor",
    "Forecast",
    "Manifest",
    "MixerError",
    "Order",
    "Recipe",
    "SequenceSet",
    "build",
    "export_build",
    "load_manifest",
    "load_recipe",
    "open",
    "plan_recipe",
    "verify_build",
]

# Where each name is defined. None of them may be the name of a folder here, such as `plan` or `verify`: importing
# `mixer.plan.plan` makes `mixer.plan` the folder.
_HOMES = {
    "Batch": "mixer.feed.sequences",
    "Cursor": "mixer.feed.cursor",
    "Forecast": "mixer.plan.forecast",
    "Manifest": "mixer.shards.records",
    "MixerError": "mixer.errors",
    "Order": "mixer.feed.order",
    "Recipe": "mixer.recipe.model",
    "SequenceSet": "mixer.feed.sequences",
    "build": "mixer.api",
    "export_build": "mixer.api",
    "load_manifest": "mixer.shards.manifest",
    "load_recipe": "mixer.recipe.load",
    "open": "mixer.feed.sequences",
    "plan_recipe": "mixer.api",
    "verify_build": "mixer.api",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mixer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), "open_build" if name == "open" else name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
