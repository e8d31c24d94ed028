"""The settings of a verifier.

Each setting is an option of `gatelight-verifier serve` and a variable GATELIGHT_VERIFIER_<NAME>; the
option wins. GATELIGHT_REDIS_URL is shared with the issuer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from verifier.errors import SettingsError
from verifier.listen import require_loopback
from verifier.mirror import DEFAULT_CAPACITY
from verifier.settings import load
from verifier.wire.ed25519 import VerifyingKey

PREFIX = "GATELIGHT_VERIFIER_"
REDIS_URL_VARIABLE = "GATELIGHT_REDIS_URL"
SCAN_SERVER_VARIABLE = PREFIX + "SERVER"  # of `gatelight-verifier scan`

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
    known = {PREFIX + name.upper() for name in VerifierSettings.model_fields} | {SCAN_SERVER_VARIABLE}
    settings = load(VerifierSettings, options, prefix=PREFIX, known=known)
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
