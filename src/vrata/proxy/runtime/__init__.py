"""State that survives a swap of plans, keyed by identity."""
