"""Which rows are worth training on: facts of texts, pairs of duplicates, and the choice of what stays."""
