"""Metrics of listeners, from what the workers count to the text that a scrape gets.

Each worker counts with *meters* (``proxy.meters``), kept in its *registry*. Its *reporter* hands the counts over to the
supervisor, now and then and whenever somebody asks. There they become *totals* over all workers, within the *scope* of
the snapshot in force, and are shown as the *families* that the documentation names. A *scrape* is one request for them.
"""
