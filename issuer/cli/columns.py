"""The columns of an import, and how the values of a row are found by them."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from issuer.cli.import_errors import BadRow, UnusableFile

# What a rejects file has beside the columns of the file it comes from, so that it can be mended and
# imported as it is.
REJECTED_LINE, REJECTED_BECAUSE = "rejected_line", "rejected_because"
_MAX_SHOWN_CHARACTERS = 40
_PASSED_OVER = frozenset({REJECTED_LINE, REJECTED_BECAUSE})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that the rows of an import may have."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()  # at least one of these

    @property
    def names(self) -> tuple[str, ...]:
        """All of them: the order in which `in_order` gives values."""
        return (*self.required, *self.one_of, *self.optional)

    def in_order(self, header: Sequence[str]) -> Callable[[list[str]], Sequence[str]]:
        """Return what puts the values of a CSV row into the order of `names`; raises UnusableFile.

        Columns that the file has not are empty. The row grows by one empty value on the way.
        """
        found = [name.strip().lower() for name in header]
        self._require(found)
        # The place behind the last value is where absent columns point to.
        places = [found.index(name) if name in found else len(found) for name in self.names]
        pick = itemgetter(*places)

        def in_order(values: list[str]) -> Sequence[str]:
            picked: Sequence[str] = pick([*values, ""])
            return picked

        return in_order

    def of_object(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the values of a JSON object in the order of `names`; raises BadRow."""
        if unknown := row.keys() - self.names - _PASSED_OVER:
            raise BadRow(f"{_printable(min(unknown))} is not known; known are {', '.join(self.names)}")
        return [_as_text(name, row.get(name)) for name in self.names]

    def _require(self, found: Sequence[str]) -> None:
        # In a file without a header the first line is a person: a column is named only beside known ones.
        is_header = any(name in self.names for name in found)
        known = f"Known columns: {', '.join(self.names)}."
        for number, name in enumerate(found, 1):
            if name in _PASSED_OVER or (name in self.names and found.index(name) == number - 1):
                continue
            if name in self.names:
                raise UnusableFile(f"column {number} of the header is {name} a second time. {known}")
            near = difflib.get_close_matches(name, self.names, n=1)
            doubt = "." if is_header else ", or the first line is no header."
            advice = f": did you mean {near[0]}?" if near else doubt
            named = f", {_printable(name)}," if is_header else ""
            raise UnusableFile(f"column {number} of the header{named} is not known{advice} {known}")
        if missing := [name for name in self.required if name not in found]:
            raise UnusableFile(f"the header lacks {', '.join(missing)}. {known}")
        if self.one_of and not any(name in found for name in self.one_of):
            raise UnusableFile(f"the header needs {' or '.join(self.one_of)}. {known}")


def _printable(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name.strip())
    return f"'{shown[:_MAX_SHOWN_CHARACTERS]}'"


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if type(value) is int:  # True is an int, too
        return str(value)
    raise BadRow(f"{name}: expected text or a whole number, got {type(value).__name__}")
