"""Where the control plane keeps what it was told.

- a *record* is one stored document under a *collection* and an id;
- a *change* tells subscribers, after the fact, what a write did;
- the *active snapshot* is a pointer to one record of the collection ``snapshots``.

:class:`~vrata.controlplane.store.base.Store` is the contract; ``memory`` and ``sqlite`` keep it. Documents are opaque
bytes here: their meaning belongs to ``vrata.model`` and ``vrata.controlplane.snapshots``.
"""
