"""Destinations as a plan holds them: settings of the bridge to a backend, and the choice between several."""
