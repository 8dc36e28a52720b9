"""Write the reference of all fields anew: ``python -m tools.reference``."""

from tools.reference.pages import DIRECTORY, pages

DIRECTORY.mkdir(exist_ok=True)
for stale in set(DIRECTORY.glob("*.md")) - {DIRECTORY / name for name in pages()}:
    stale.unlink()
for name, text in pages().items():
    (DIRECTORY / name).write_text(text, encoding="utf-8")
