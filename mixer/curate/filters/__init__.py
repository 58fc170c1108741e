"""Filters of documents: verdicts with reasons, row by row. Nothing else in the package knows datatrove's filters."""
