"""The local journal of a run: what was intended, what came of it, and what was told."""
