"""Row attributes: columns about the rows of a snapshot, by ordinal, in files of their own. Never a copy of the text."""
