"""Lengths of documents -> layout of sequences -> the columns of a shard. Pure."""
