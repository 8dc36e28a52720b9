"""The command line. Each *command* reads the settings and hands them to the program of that name in ``vrata.app``.

Programs are imported by the command that runs them, so that no command waits for what another one needs.
"""

from vrata.cli.application import main

__all__ = ["main"]
