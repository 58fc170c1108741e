"""A user's own data: its files, their columns, and a first recipe for a mixture of them."""
