"""Numbers of the register and of the wire formats as values of protobuf enums: they are the same numbers."""

from typing import Any


def as_enum(value: int) -> Any:
    """Return the protobuf value; to mypy each enum is a type of its own, so it is any of them."""
    return int(value)
