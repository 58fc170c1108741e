"""Fetching what data sets only point at: the contents of Stack v2's files."""

from mixer.fetch.blobs import SOFTWARE_HERITAGE, Origin
from mixer.fetch.fetch import Listener, fetch_stack_v2, run_fetch
from mixer.fetch.folder import FetchFolder, WrittenFile
from mixer.fetch.ids import pinned_ids
from mixer.fetch.plan import FetchPlan, IdsStore, Part, Policy, Rules, make_plan, parse_part
from mixer.fetch.selection import Selection

__all__ = [
    "SOFTWARE_HERITAGE",
    "FetchFolder",
    "FetchPlan",
    "IdsStore",
    "Listener",
    "Origin",
    "Part",
    "Policy",
    "Rules",
    "Selection",
    "WrittenFile",
    "fetch_stack_v2",
    "make_plan",
    "parse_part",
    "pinned_ids",
    "run_fetch",
]
