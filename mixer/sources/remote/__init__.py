"""Sources that are not on this machine: found, pinned, and read block by block through a cache on the disk."""
