"""The supervisor: the process that owns a proxy's sockets, its documents and its workers.

Nouns: a *snapshot document* is one configuration as received, in a sealed memory file; an *edition* is one attempt to
have it served; a *slot* is a place for one worker; a *worker process* is who fills it now; the *listening sockets*
are bound per address and slot, and outlive every worker; the *snapshot cache* keeps the last good document on disk.

Direction: documents come in from the sync stream, go as editions to every worker over its channel, and their
outcome goes back as the proxy's status. No request passes through here.
"""
