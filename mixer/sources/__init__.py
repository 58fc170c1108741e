"""Sources: pin their files, local or remote, to a snapshot, and read its blocks as Arrow text."""

from mixer.sources.cache import PinCache, default_cache_dir
from mixer.sources.changes import Changes, as_pinned, difference
from mixer.sources.counting import PinCount
from mixer.sources.evidence import Evidence, EvidenceCollector, check_evidence
from mixer.sources.pin import pin, pin_anew
from mixer.sources.reader import SourceReader, Texts
from mixer.sources.snapshot import Snapshot, SourceFile

__all__ = [
    "Changes",
    "Evidence",
    "EvidenceCollector",
    "PinCache",
    "PinCount",
    "Snapshot",
    "SourceFile",
    "SourceReader",
    "Texts",
    "as_pinned",
    "check_evidence",
    "default_cache_dir",
    "difference",
    "pin",
    "pin_anew",
]
