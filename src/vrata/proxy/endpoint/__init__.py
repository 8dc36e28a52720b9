"""The concrete backends of a destination, and which of them serves a request."""
