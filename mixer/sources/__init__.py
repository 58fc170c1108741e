"""Sources: pin local files to a snapshot and read their blocks as Arrow text."""

from mixer.sources.cache import PinCache, default_cache_dir
from mixer.sources.pin import pin
from mixer.sources.reader import SourceReader, Texts
from mixer.sources.snapshot import Snapshot, SourceFile

__all__ = ["PinCache", "Snapshot", "SourceFile", "SourceReader", "Texts", "default_cache_dir", "pin"]
