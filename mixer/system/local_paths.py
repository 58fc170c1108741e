"""Local paths, distinguished from the addresses of a store."""

from __future__ import annotations

import re
from pathlib import Path

from mixer.errors import UsageError

# pathlib makes "s3://bucket/out" into "s3:/bucket/out". One letter is left out: it would be a drive of Windows.
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+(?P<rest>.*)", re.DOTALL)


def check_local(path: str | Path, *, where: str) -> None:
    """Refuse an address where a local path is needed; as a relative path it would name a folder `s3:`.

    Args:
        path: what the user gave.
        where: the option or argument it was given to.

    Raises:
        UsageError: it is an address, such as `s3://bucket/out` or `file:///data/out`.
    """
    match = _ADDRESS.match(str(path))
    if match is None:
        return
    scheme, rest = match["scheme"], match["rest"]
    if scheme.lower() == "file":
        address, hint = f"{scheme}:///{rest}", f"give the path alone: /{rest}"
    else:
        address = f"{scheme}://{rest}"
        hint = f"give a local path, and copy between it and {address} with that store's own tool"
    raise UsageError(f"'{address}' is an address; a local path is needed", where=where, hint=hint)
