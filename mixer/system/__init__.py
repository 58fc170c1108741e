"""What touches the operating system, each once: publishing files, locks, threads, processes."""
