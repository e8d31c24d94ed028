"""The settings of a verifier: the only place in this package that reads the environment.

Each setting is an option of `gatelight-verifier serve` and a variable GATELIGHT_VERIFIER_<NAME>; the
option wins. GATELIGHT_REDIS_URL is shared with the issuer.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from verifier.errors import SettingsError
from verifier.listen import require_loopback
from verifier.mirror import DEFAULT_CAPACITY
from verifier.wire.ed25519 import VerifyingKey

PREFIX = "GATELIGHT_VERIFIER_"
REDIS_URL_VARIABLE = "GATELIGHT_REDIS_URL"

_Count = Annotated[int, Field(ge=1)]


class VerifierSettings(BaseSettings):
    """What a verifier needs to run."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, populate_by_name=True)

    root_key: Path
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", validation_alias=AliasChoices("redis_url", REDIS_URL_VARIABLE)
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] = 1
    listen: str = "127.0.0.1:50051"
    insecure: bool = False
    port_file: Path | None = None
    threads: _Count = 16
    max_backlog: _Count = 256
    max_streams: _Count = 256
    mirror_capacity: Annotated[int, Field(ge=1, le=2**32)] = DEFAULT_CAPACITY
    max_test_age_s: _Count | None = None
    max_status_age_s: Annotated[float, Field(gt=0)] | None = None
    grace_s: Annotated[float, Field(ge=0)] = 5.0


def load_settings(options: Mapping[str, Any]) -> VerifierSettings:
    """Return the settings that options (None: not given) and environment make; raises SettingsError."""
    _reject_unknown_variables()
    try:
        settings = VerifierSettings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise SettingsError("; ".join(problems)) from None
    require_loopback(settings.listen, is_insecure=settings.insecure)
    return settings


def read_root_key(path: Path) -> VerifyingKey:
    """Return the root's public key from a PEM file (SubjectPublicKeyInfo); raises SettingsError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read the root key {path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            f"{path} is not a public key in PEM, as `gatelight-issuer init` writes it"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path} is not an Ed25519 key")
    return VerifyingKey(key.public_bytes_raw())


def _reject_unknown_variables() -> None:
    """Raise SettingsError for a GATELIGHT_VERIFIER_ variable that no setting has: it is misspelt."""
    known = [PREFIX + name.upper() for name in VerifierSettings.model_fields]
    known += [PREFIX + "SERVER"]  # of `gatelight-verifier scan`
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            advice = f": did you mean {near[0]}?" if near else ""
            raise SettingsError(f"unknown variable {variable}{advice}")
