"""People who do not exist, with names and numbers that turn up nowhere by chance."""

from collections.abc import Sequence
from dataclasses import dataclass

from issuer.masking import mask_name
from loadtest.canary.needles import Kind, Needles


@dataclass(frozen=True, slots=True)
class Marked:
    """Somebody to enrol."""

    role: str

    @property
    def name(self) -> str:
        """Rare characters around plain ones."""
        return f"龘Qzxv{self.role}靐"

    @property
    def document_number(self) -> str:
        """As on a card."""
        return f"QZXV{self.role.upper()}8817364JKWQ"

    @property
    def region(self) -> str:
        """Where nobody lives."""
        return f"Zvxqland-{self.role}"


KEPT, IMPORTED, REFUSED, ERASED = (Marked(role) for role in ("kept", "imported", "refused", "erased"))
EVERYBODY: Sequence[Marked] = (KEPT, IMPORTED, REFUSED, ERASED)


def add_people(needles: Needles) -> None:
    """Look for all of them."""
    for one in EVERYBODY:
        needles.add(Kind.ERASED if one is ERASED else Kind.NAME, one.name)
        needles.add(Kind.ERASED if one is ERASED else Kind.REGION, one.region)
        needles.add(Kind.DOCUMENT, one.document_number)
        needles.add(Kind.MASKED, mask_name(one.name))
