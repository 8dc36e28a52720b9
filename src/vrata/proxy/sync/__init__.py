"""The proxy's side of the sync protocol.

Nouns: the *control plane link* is where the control plane is and how one proves who one is; the *snapshot stream*
carries the active snapshot to this proxy; the *acknowledgement* carries this proxy's status back.

Direction: snapshots come in, statuses go out. Neither ever touches traffic: a control plane that is away, slow or
broken only means that nothing new arrives.
"""
