"""A user's own data: which files there are, what is in them, and the recipe that a mixture of them begins with."""
