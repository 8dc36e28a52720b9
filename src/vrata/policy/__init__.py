"""Decisions without input or output: they take the time and a random generator as arguments.

They are what property tests and simulation run, unchanged.
"""
