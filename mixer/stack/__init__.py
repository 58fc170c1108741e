"""Fetching the text that a data set's rows refer to: the contents of Stack v2's files."""
