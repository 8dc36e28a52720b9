"""Middlewares: what a request passes before its route acts on it, and its response after that."""
