"""The watch: what a supervisor finds out about endpoints, once for all its workers.

Nouns: the *prober* sends *probes* and keeps the health of each endpoint; the *sweeper* reads the *streaks* that workers
count, and ejects; *discovery* finds endpoints; what they come to is the *standing* of a destination, which the
*publisher* tells every worker; the *watch* holds them together.

Direction: destinations come in with each good edition, probes go out, streaks are read from shared memory; standings go
to the workers whenever they have changed, and the status goes to whoever asks. The prober, the sweeper and discovery
know nothing of each other, so no verdict can undo another's. All state is kept by the IDs of destinations and the
addresses of endpoints, and what an edition does not change stays as it was.
"""
