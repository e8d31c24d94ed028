"""Settings from options and environment, with an error for what is unusable, unknown or misspelt."""

import difflib
import os
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from verifier.errors import SettingsError

SHARED_VARIABLES = (
    "GATELIGHT_REDIS_URL",
    "GATELIGHT_PASSPHRASE",
    "GATELIGHT_PASSPHRASE_FILE",
    # Of `gatelight-verifier scan`.
    "GATELIGHT_GATE_ID",
    "GATELIGHT_GATE_KEY_FILE",
    "GATELIGHT_GATE_TLS_CA",
    "GATELIGHT_GATE_TLS_CERTIFICATE",
    "GATELIGHT_GATE_TLS_KEY",
    "GATELIGHT_GATE_INSECURE",
    # Of a verifier's own workers.
    "GATELIGHT_WORKER_FD",
)
_PREFIXES = ("GATELIGHT_VERIFIER_", "GATELIGHT_ISSUER_")

_Settings = TypeVar("_Settings", bound=BaseSettings)


def load(
    kind: type[_Settings], options: Mapping[str, Any], *, prefix: str, known: Collection[str]
) -> _Settings:
    """Return the settings that options (None: not given) and environment make; raises SettingsError.

    A variable of ours that is neither `known` nor another service's is an error: pydantic would pass over it.
    """
    known = {*known, *SHARED_VARIABLES}
    others = tuple(one for one in _PREFIXES if one != prefix)
    for variable in os.environ:
        is_ours = variable.startswith("GATELIGHT_") and not variable.startswith(others)
        if is_ours and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            advice = f": did you mean {near[0]}?" if near else ""
            raise SettingsError(f"unknown variable {variable}{advice}")
    try:
        return kind(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(found, prefix) for found in error.errors())) from None


def _explain(found: ErrorDetails, prefix: str) -> str:
    name = str(found["loc"][0])
    option = f"--{name.replace('_', '-')}"
    if found["type"] == "missing":
        return f"{option} is missing; it can also be given as {prefix}{name.upper()}"
    return f"{option}: {found['msg'][0].lower()}{found['msg'][1:]}"
