"""The proxy: compiles snapshots and serves traffic with them.

A *supervisor* receives snapshots, owns the listening sockets and keeps its *workers* alive. A worker's *data plane*
compiles a snapshot into a *plan* and serves with it. A request goes listener → routing → action → destination →
endpoint → upstream, and its response comes back the same way; a snapshot goes sync → supervisor → channel → worker →
compile → data plane.
"""
