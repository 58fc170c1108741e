"""Builds the golden builds of today's format version: `python tests/golden/make.py`, only when the version is new."""

import shutil
from pathlib import Path

from mixer.building.build import build
from mixer.recipe import load_recipe
from mixer.shards.records import FORMAT_VERSION
from mixer.sources.pin_cache import default_cache_dir


def main() -> None:
    """Build each recipe of the version's folder beside it."""
    folder = Path(__file__).parent / f"v{FORMAT_VERSION}"
    for recipe in sorted(folder.glob("*.yaml")):
        out = recipe.with_suffix("")
        shutil.rmtree(out, ignore_errors=True)
        manifest = build(load_recipe(recipe), root=folder, out=out, workers=1, cache_dir=default_cache_dir())
        for name in ("build-log.json", "evidence.json"):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / ".mixer")
        print(out.name, manifest.id, manifest.totals)


if __name__ == "__main__":
    main()
