"""Vrata: a programmable HTTP reverse proxy and API gateway, configured through a REST API.

The package holds two programs. The *control plane* stores entities, captures them in immutable *snapshots*
and pushes the active one to every proxy. The *proxy* compiles a snapshot into a *plan* and serves traffic
with it, by a *supervisor* and its *workers*. A snapshot is the only thing that passes from one to the other.
"""

from vrata import compilation

__version__ = "0.1.0"

compilation.settle()
