"""How many scans a gate has had since it was started."""

from dataclasses import dataclass

from verifier.client import Answer
from verifier.gate.advice import Unanswered


@dataclass(slots=True)
class Tally:
    """Counts of scans; their sum is `total`."""

    green: int = 0
    refused: int = 0
    no_answer: int = 0

    @property
    def total(self) -> int:
        """All scans."""
        return self.green + self.refused + self.no_answer

    def count(self, outcome: Answer | Unanswered) -> None:
        """Count one scan."""
        if isinstance(outcome, Unanswered):
            self.no_answer += 1
        elif outcome.opens_gate:
            self.green += 1
        else:
            self.refused += 1

    def __str__(self) -> str:
        return f"scans {self.total}, green {self.green}, refused {self.refused}, no answer {self.no_answer}"
