"""Draw each source's share of the rows against its share of the tokens, from the record of the demo.

    python benchmarks/picture.py [RECORD] [--out PICTURE]

RECORD is `benchmarks/records/demo.json` unless given: what `mixer inspect out/sample --json` printed after `make demo`.
The picture is a pure function of it, and has colours for light and dark pages.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
RECORD = HERE / "records" / "demo.json"
PICTURE = HERE.parent / "docs" / "rows-and-tokens.svg"

WIDTH, ROW_HEIGHT, BAR_HEIGHT = 760, 46, 14
LEFT, RIGHT, TOP = 120, 80, 46
"""Room for the names, for the figures, and for the title, in pixels."""
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .quiet { fill: #59636e }
    .rows { fill: #8c959f } .tokens { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .quiet { fill: #9198a1 }
      .rows { fill: #6e7681 } .tokens { fill: #4493f8 }
    }"""


def main(argv: list[str] | None = None) -> None:
    """Draw the picture of a record."""
    parser = argparse.ArgumentParser(description="Draw rows against tokens of each source.")
    parser.add_argument("record", type=Path, nargs="?", default=RECORD)
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args(argv)
    options.out.write_text(picture(json.loads(options.record.read_text())), encoding="utf-8")


def picture(record: dict[str, Any]) -> str:
    """The SVG of a record: two bars for each source, its share of the rows and of the tokens, to one scale. Pure."""
    sources = record["summary"]["sources"]
    scale = (WIDTH - LEFT - RIGHT) / max(share for one in sources for share in (one["row_share"], one["token_share"]))
    height = TOP + ROW_HEIGHT * len(sources) + 6
    alt = "; ".join(f"{one['name']}: {_percent(one, 'row_share')} of the rows, "
                    f"{_percent(one, 'token_share')} of the tokens" for one in sources)  # fmt: skip
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"  <title>{escape(alt)}</title>",
        f"  <style>{STYLE}\n  </style>",
        _bar("rows", LEFT, 10, 14),
        _text("share of the rows drawn", LEFT + 20, 22, "quiet"),
        _bar("tokens", LEFT + 200, 10, 14),
        _text("share of the tokens trained on", LEFT + 220, 22, "quiet"),
    ]
    for number, source in enumerate(sources):
        top = TOP + ROW_HEIGHT * number
        lines.append(_text(source["name"], LEFT - 12, top + 19, anchor="end"))
        for kind, field, place in (("rows", "row_share", top), ("tokens", "token_share", top + BAR_HEIGHT + 2)):
            width = max(scale * source[field], 1)
            lines.append(_bar(kind, LEFT, place, width))
            lines.append(_text(_percent(source, field), LEFT + width + 8, place + 12, "quiet"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _percent(source: dict[str, Any], field: str) -> str:
    share = 100 * source[field]
    return f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"


def _bar(kind: str, left: float, top: float, width: float) -> str:
    return f'  <rect class="{kind}" x="{left:g}" y="{top:g}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2"/>'


def _text(text: str, left: float, base: float, kind: str = "", *, anchor: str = "start") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'  <text{attribute} x="{left:.1f}" y="{base:g}" text-anchor="{anchor}">{escape(text)}</text>'


if __name__ == "__main__":
    main()
