"""A plan -> shards and manifest: tasks, the ledger of what is done, the output folder."""
