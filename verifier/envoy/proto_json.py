"""Protobuf's JSON as Envoy's configuration has it. Pure."""

from typing import Any

Json = dict[str, Any]

_TYPES = "type.googleapis.com/envoy.extensions."


def typed(name: str, **fields: Any) -> Json:
    """Return the configuration of an extension; `name` is its message's, from `envoy.extensions.` on."""
    return {"@type": _TYPES + name, **fields}


def duration(seconds: float) -> str:
    """Return a Duration."""
    return f"{seconds:.3f}s"
