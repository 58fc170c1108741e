"""The example in a module's docstring, run as it stands."""

from __future__ import annotations

import textwrap
from types import ModuleType
from typing import Any


def run_example(module: ModuleType, **names: Any) -> dict[str, Any]:
    """Run the indented lines of a module's docstring; gives all names afterwards.

    Args:
        module: whose docstring.
        names: what the reader of the example has at hand, such as a model.
    """
    assert module.__doc__ is not None
    lines = [line for line in module.__doc__.splitlines() if line.startswith("    ")]
    assert lines
    exec(compile(textwrap.dedent("\n".join(lines)), f"example of {module.__name__}", "exec"), names)
    return names
