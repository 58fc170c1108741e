"""The shards of a build as a table of `datasets`: mapped where they lie, nothing copied, cheap to send to workers.

`datasets` maps files of its own cache, which are Arrow streams; shards are Arrow files, with an index at their end.
This table is made from those, and pickled as their paths.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets.table import TableBlock, table_cast, table_flatten

_Change = tuple[str, tuple[Any, ...], dict[str, Any]]


class ShardsTable(TableBlock):
    """The rows of some shards, one after the other, and what was changed since they were mapped.

    It is not listed among a data set's cache files, so what `Dataset.map` writes does not go beside the shards.

    Args:
        paths: the shards.
        changes: method, arguments and keyword arguments, applied in turn to the mapped table.
    """

    def __init__(self, paths: tuple[Path, ...], changes: tuple[_Change, ...] = (), table: pa.Table = None) -> None:
        if table is None:
            table = _mapped(paths)
            for change in changes:
                table = _changed(table, *change)
        super().__init__(table)
        self._paths, self._changes = paths, changes

    def __reduce__(self) -> tuple[type[ShardsTable], tuple[Any, ...]]:
        # Maps do not travel to a worker; it opens its own.
        return ShardsTable, (self._paths, self._changes)

    def __deepcopy__(self, memo: dict[int, Any]) -> ShardsTable:
        return self  # immutable, as its table is

    @staticmethod
    def _change(name: str) -> Callable[..., ShardsTable]:
        def method(self: ShardsTable, *args: Any, **kwargs: Any) -> ShardsTable:
            table = _changed(self.table, name, args, kwargs)
            return ShardsTable(self._paths, (*self._changes, (name, args, kwargs)), table)

        return method

    slice, filter, select = _change("slice"), _change("filter"), _change("select")
    cast, flatten, combine_chunks = _change("cast"), _change("flatten"), _change("combine_chunks")
    add_column, append_column, set_column = _change("add_column"), _change("append_column"), _change("set_column")
    remove_column, rename_columns, drop = _change("remove_column"), _change("rename_columns"), _change("drop")
    replace_schema_metadata = _change("replace_schema_metadata")


def _mapped(paths: tuple[Path, ...]) -> pa.Table:
    tables = []
    for path in paths:
        # The map outlives its file: a process may open fewer files than a build has shards.
        with pa.memory_map(str(path)) as file:
            tables.append(pa.ipc.open_file(file).read_all())
    return pa.concat_tables(tables)


def _changed(table: pa.Table, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> pa.Table:
    of_datasets = {"cast": table_cast, "flatten": table_flatten}
    if name in of_datasets:
        return of_datasets[name](table, *args, **kwargs)
    return getattr(table, name)(*args, **kwargs)
