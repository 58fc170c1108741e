"""Calls to the operating system, each in one place: publishing files, locks, threads, processes."""
