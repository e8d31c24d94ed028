"""What was expected, what came, and whether all of it was the same."""

from dataclasses import dataclass, field

from rich.console import Console


@dataclass(slots=True)
class Checks:
    """The lines of a demonstration."""

    console: Console
    failed: list[str] = field(default_factory=list)

    def check(self, what: str, expected: object, actual: object, note: str = "") -> tuple[str, ...]:
        """Note one line; return it for a table."""
        is_right = expected == actual
        if not is_right:
            self.failed.append(what)
        mark = "[green]ok[/]" if is_right else "[bold red]WRONG[/]"
        return what, str(expected), str(actual), mark, note
