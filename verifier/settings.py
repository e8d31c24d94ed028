"""Settings from options and environment, with an error for what is unusable, unknown or misspelt."""

import difflib
import os
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from verifier.errors import SettingsError

_Settings = TypeVar("_Settings", bound=BaseSettings)


def load(
    kind: type[_Settings], options: Mapping[str, Any], *, prefix: str, known: Collection[str]
) -> _Settings:
    """Return the settings that options (None: not given) and environment make; raises SettingsError.

    A variable that begins with `prefix` and is not `known` is an error: pydantic would pass over it.
    """
    for variable in os.environ:
        if variable.startswith(prefix) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            advice = f": did you mean {near[0]}?" if near else ""
            raise SettingsError(f"unknown variable {variable}{advice}")
    try:
        return kind(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise SettingsError("; ".join(problems)) from None
