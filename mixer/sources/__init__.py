"""Sources: pin their files, local or remote, to a snapshot, and read its blocks as Arrow text."""

from mixer.sources.cache import PinCache, default_cache_dir
from mixer.sources.changes import Changes, difference
from mixer.sources.counting import PinCount
from mixer.sources.evidence import Evidence, EvidenceCollector, check_evidence
from mixer.sources.pin import pin, pin_anew
from mixer.sources.reader import SourceReader, Texts
from mixer.sources.row import FoundRow, RowPlace, place_of_row, read_row
from mixer.sources.snapshot import Snapshot, SourceFile

__all__ = [
    "Changes",
    "Evidence",
    "EvidenceCollector",
    "FoundRow",
    "PinCache",
    "PinCount",
    "RowPlace",
    "Snapshot",
    "SourceFile",
    "SourceReader",
    "Texts",
    "check_evidence",
    "default_cache_dir",
    "difference",
    "pin",
    "pin_anew",
    "place_of_row",
    "read_row",
]
