"""Which one of several: one algorithm per module, the random generator passed in."""
