"""Fetching what data sets only point at: the contents of Stack v2's files."""
