"""What is wrong with the configuration."""

from collections.abc import Iterable

from vrata.model.errors import Problem


class ConfigError(Exception):
    """The configuration cannot be used. The text names the file, each key and each reason."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(f"{source}: {'; '.join(map(str, self.problems))}")
