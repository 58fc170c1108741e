"""All reading before a decision: snapshots of the sources, measurements of their rows, published figures."""
