"""A build in the formats of other trainers: a module a format, and what they share.

`shards.py` reads the build, `documents.py` puts documents together; `stream.py` (one long file) and `samples.py`
(files of samples) write what several formats have; `folder.py` guards the output; `export.py` is the whole.
"""
