"""A recipe and its survey -> draws, tasks, forecast. Pure: nothing here reads, waits or tokenizes."""
