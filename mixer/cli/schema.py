"""`mixer schema`: the JSON schema of recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from mixer.extras import require


def schema(json: Annotated[bool, typer.Option("--json", help="The output is always JSON.")] = False) -> None:
    """Print the JSON schema of recipes, for editors.

    Example: mixer schema > recipe.schema.json
    """
    require("build", "the schema of recipes")
    from mixer.recipe import recipe_schema
    from mixer.report.console import print_json

    print_json(recipe_schema())
