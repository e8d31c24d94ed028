"""What a worker is told by the supervisor: everything it needs, and the descriptors it inherits."""

import base64
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from verifier.limits import Limits
from verifier.tracing import TraceConfig
from verifier.verdict import Policy


class GateAuth(StrEnum):
    """How gates show who they are."""

    NONE = "none"  # a gate is who it says it is
    KEY = "key"  # a bearer key
    CERTIFICATE = "certificate"  # a TLS client certificate


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a server."""

    certificate: Path
    key: Path
    client_ca: Path | None = None  # if given, every gate needs a certificate of one of these


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The configuration of one worker."""

    number: int  # its row in shared memory, from 0 on
    host: str
    port: int  # never 0: the supervisor has bound it
    root_public_key: bytes  # 32 bytes
    redis_url: str
    max_workers: int  # rows in shared memory
    policy: Policy  # the verifier's own; a gate's group may ask for more
    gate_auth: GateAuth
    tls: TlsFiles | None
    journal: Path | None  # the folder; None: no scan log
    journal_limit_bytes: int
    limits: Limits
    has_reflection: bool
    grace_s: float
    run_folder: Path  # sockets and files of this run, removed at the end
    shared_fd: int
    life_fd: int  # at its end when the supervisor is gone
    trace: TraceConfig | None = None  # None: no traces
    cors_origins: tuple[str, ...] = ()  # Envoy engine: web pages that may call from a browser

    def to_json(self) -> str:
        """Return it as text for from_json."""
        return json.dumps(asdict(self), default=_encode)

    @classmethod
    def from_json(cls, text: str) -> "WorkerConfig":
        """Return what to_json wrote."""
        fields: dict[str, Any] = json.loads(text)
        tls, journal, trace = fields["tls"], fields["journal"], fields["trace"]
        fields |= {
            "root_public_key": base64.b64decode(fields["root_public_key"]),
            "policy": Policy(**fields["policy"]),
            "limits": Limits(**fields["limits"]),
            "gate_auth": GateAuth(fields["gate_auth"]),
            "tls": TlsFiles(**{name: path and Path(path) for name, path in tls.items()}) if tls else None,
            "journal": Path(journal) if journal else None,
            "run_folder": Path(fields["run_folder"]),
            "trace": TraceConfig(**trace) if trace else None,
            "cors_origins": tuple(fields["cors_origins"]),
        }
        return cls(**fields)


def _encode(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"expected a path or bytes, got {type(value).__name__}")
