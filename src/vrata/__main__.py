"""``python -m vrata`` and the ``vrata`` command."""

from vrata.cli import main

if __name__ == "__main__":
    main()
