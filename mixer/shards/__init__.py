"""Shards and manifest on disk; `mixer/format.md` is the normative description of both."""
