"""The reasons that a colour may have: a closed list, in the file reasons.toml of the issuer's folder.

    [[reason]]
    code = 12                       # 1 to 65 535: what verifiers and gates are told
    text = "close contact of a case"
    colours = ["YELLOW", "RED"]     # what it may be given for: GREEN, YELLOW, RED

Read once, at start. A code never gets another meaning: the history and the gates know only the number.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from issuer.errors import SettingsError
from verifier.wire.status_record import Colour

_MAX_CODE = 0xFFFF  # the bits that a status record has for it
_MAX_TEXT = 100
_FIELDS = frozenset({"code", "text", "colours"})
_COLOURS = {colour.name: colour for colour in (Colour.GREEN, Colour.YELLOW, Colour.RED)}

DEFAULT_LIST = """\
# The reasons that a colour may have. Every yellow and every red needs one of this list; green may have one.
# The issuer reads this file when it starts.
#
# code: 1 to 65535; it is what gates are told. Never give a code another meaning: take a new one.
# colours: what the reason may be given for.

[[reason]]
code = 1
text = "quarantine completed"
colours = ["GREEN"]

[[reason]]
code = 2
text = "recovered"
colours = ["GREEN"]

[[reason]]
code = 3
text = "decided on appeal"
colours = ["GREEN"]

[[reason]]
code = 4
text = "entered in error"
colours = ["GREEN"]

[[reason]]
code = 10
text = "confirmed case"
colours = ["RED"]

[[reason]]
code = 11
text = "suspected case, result awaited"
colours = ["YELLOW", "RED"]

[[reason]]
code = 12
text = "close contact of a case"
colours = ["YELLOW", "RED"]

[[reason]]
code = 13
text = "contact of a close contact"
colours = ["YELLOW"]

[[reason]]
code = 20
text = "arrived from abroad"
colours = ["YELLOW", "RED"]

[[reason]]
code = 21
text = "arrived from an area of higher risk"
colours = ["YELLOW", "RED"]

[[reason]]
code = 22
text = "lives in a closed area"
colours = ["YELLOW", "RED"]

[[reason]]
code = 30
text = "quarantine at home"
colours = ["YELLOW", "RED"]

[[reason]]
code = 31
text = "test overdue"
colours = ["YELLOW"]

[[reason]]
code = 32
text = "symptoms reported"
colours = ["YELLOW"]
"""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason on the list."""

    code: int
    text: str
    colours: frozenset[Colour]


class Reasons:
    """The list."""

    def __init__(self, reasons: Mapping[int, Reason]) -> None:
        """Take the reasons by code."""
        self._reasons = dict(sorted(reasons.items()))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the list from a file; raises SettingsError, which names the file and the entry."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{path}: expected UTF-8") from None
        try:
            return cls.parse(text)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the list from the text of a file; raises SettingsError, which names the entry."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:  # its text names line and column
            raise SettingsError(f"expected TOML: {error}") from None
        except RecursionError:
            raise SettingsError("expected TOML without deep nesting") from None
        entries = document.get("reason")
        if document.keys() != {"reason"} or not isinstance(entries, list):
            raise SettingsError("expected [[reason]] entries and nothing else")
        reasons: dict[int, Reason] = {}
        for number, entry in enumerate(entries, start=1):
            reason = _read_reason(entry, f"[[reason]] {number}")
            if reason.code in reasons:
                raise SettingsError(f"[[reason]] {number}: code {reason.code} is on the list already")
            reasons[reason.code] = reason
        return cls(reasons)

    def __iter__(self) -> Iterator[Reason]:
        """Give all reasons, by code."""
        return iter(self._reasons.values())

    def check(self, code: int, colour: Colour) -> str | None:
        """Return what is wrong with a reason for a colour, or None. Only GREEN may go without: 0."""
        if code == 0:
            return None if colour is Colour.GREEN else f"expected a reason for {colour.name}, got none"
        reason = self._reasons.get(code)
        if reason is None:
            return f"{code} is not on the list, see: gatelight-issuer status reasons"
        if colour not in reason.colours:
            return f"{code} is no reason for {colour.name}, see: gatelight-issuer status reasons"
        return None

    def text(self, code: int) -> str:
        """Return what a reason says; empty for 0, and for one that is not on the list any more."""
        reason = self._reasons.get(code)
        return "" if reason is None else reason.text


def _read_reason(entry: Any, where: str) -> Reason:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise SettingsError(f"{where}: expected code, text and colours, and nothing else")
    code, text, colours = entry["code"], entry["text"], entry["colours"]
    if type(code) is not int or not 1 <= code <= _MAX_CODE:
        raise SettingsError(f"{where}: code: expected 1 to {_MAX_CODE}, got {code!r}")
    if not isinstance(text, str) or not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
        raise SettingsError(f"{where}: text: expected 1 to {_MAX_TEXT} characters without control characters")
    if not isinstance(colours, list) or not colours:
        raise SettingsError(f"{where}: colours: expected a list with GREEN, YELLOW or RED")
    unknown = [colour for colour in colours if not isinstance(colour, str) or colour not in _COLOURS]
    if unknown:
        raise SettingsError(f"{where}: colours: expected GREEN, YELLOW or RED, got {unknown[0]!r}")
    return Reason(code, text, frozenset(_COLOURS[colour] for colour in colours))
