"""`mixer inspect OUT`: the contents of a build."""

from __future__ import annotations

from mixer.cli.options import Build, Json, Wide


def inspect(out: Build, wide: Wide = False, json: Json = False) -> None:
    """Show the rows and tokens that a build has from each source.

    Example: mixer inspect out/my-mixture
    """
    from mixer.report.console import out_console, print_json
    from mixer.report.inspect import print_summary, summary_json
    from mixer.report.tables import summarise
    from mixer.shards.manifest import load_manifest

    summary = summarise(load_manifest(out))
    if json:
        print_json(summary_json(summary))
    else:
        print_summary(summary, out_console(), wide=wide)
