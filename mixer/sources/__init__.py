"""Sources: pin their files, local or remote, to a snapshot, and read its blocks as Arrow text."""
