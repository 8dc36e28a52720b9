"""Composition roots: each program is put together here, started, and stopped in order."""
