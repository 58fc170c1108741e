"""A finished build, checked and repaired: against its manifest, and against its sources."""
