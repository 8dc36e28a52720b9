"""The reference of all fields, `docs/reference`, made from the models.

*Kinds of value* name the types of fields, *tables* show the fields of parts, and *pages* have the tables of one entity.
Flow: models → tables → pages → files; `python -m tools.reference` writes them.
"""
