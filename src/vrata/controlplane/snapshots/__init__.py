"""From staged entities to one immutable snapshot.

``capture`` runs the steps in this order: the staged documents are decoded; *references* to secrets in them are replaced
by what they refer to (``resolution``); the results are validated as entities once more; *refusals* are looked for
(``refusals``, with ``acted_on`` saying what this build's data plane puts into effect); what looks unintended becomes a
*warning* (``warnings``). Everything found is a *finding*. Each step reports all it finds at once.
"""
