"""Fetching what data sets only point at: the contents of Stack v2's files."""

from mixer.fetch.blobs import SOFTWARE_HERITAGE, Origin
from mixer.fetch.fetch import Listener, fetch_stack_v2
from mixer.fetch.plan import FetchPlan, Part, Policy, Rules, parse_part
from mixer.fetch.selection import Selection

__all__ = [
    "SOFTWARE_HERITAGE",
    "FetchPlan",
    "Listener",
    "Origin",
    "Part",
    "Policy",
    "Rules",
    "Selection",
    "fetch_stack_v2",
    "parse_part",
]
