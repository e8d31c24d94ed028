"""One site's connection to the verifiers, and calls over it, each tried as often as a gate would."""

import json
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc

from loadtest.crowd.options import LoadOptions
from loadtest.crowd.tally import Tally
from verifier.bearer import BearerFileError, read_key_file
from verifier.client import CONNECTION_OPTIONS
from verifier.client_tls import ClientTls
from verifier.errors import SettingsError
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc

_Answer = TypeVar("_Answer")

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # A connection of its own for each site, as in the street.
    ("grpc.use_local_subchannel_pool", 1),
    # Attempts are ours to make and to count.
    ("grpc.enable_retries", 0),
    *CONNECTION_OPTIONS,
)

# Over all verifiers that say that they serve: one that listens and knows nothing yet is left out.
_SPREAD = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": pb.DESCRIPTOR.services_by_name["VerifierService"].full_name},
}


class CannotConnect(Exception):
    """A key, a certificate or a name is no good; the message is for people."""


class Target:
    """Where all sites of a process connect to, and what they show."""

    def __init__(self, options: LoadOptions) -> None:
        """Read key and certificates, and look names up; raises CannotConnect."""
        try:
            key_file = options.gate_key_file
            key = None if key_file is None else read_key_file(key_file, whose="gate")
            self._credentials = None if options.tls_ca is None else ClientTls(ca=options.tls_ca).read()
        except (BearerFileError, SettingsError) as error:
            raise CannotConnect(str(error)) from None
        self.metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        self._options = list(_OPTIONS)
        self._target = options.addresses[0]
        if len(options.addresses) > 1:
            self._target = _name_of_all(options.addresses)
            spread = json.dumps(_SPREAD)
            first = options.addresses[0].rpartition(":")[0]
            self._options += [("grpc.service_config", spread), ("grpc.default_authority", first)]

    def connect(self) -> grpc.Channel:
        """Return a channel with connections of its own."""
        if self._credentials is None:
            return grpc.insecure_channel(self._target, options=self._options)
        return grpc.secure_channel(self._target, self._credentials, options=self._options)


class GaveUp(Exception):
    """All attempts failed."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status  # of the last one, as gRPC names it


class Attempts:
    """How often, and how long each.

    Calls wait in a greenlet each. With gRPC's futures a call costs a fifth less where 16 are under way on a
    connection (190 against 230 µs), but a fifth to a half more where there is one, as at most gates.
    """

    def __init__(self, options: LoadOptions, target: Target, tally: Tally, now: Callable[[], float]) -> None:
        self.deadline_s, self.most = options.scenario.deadline_s, options.scenario.attempts
        self.metadata = target.metadata
        self._tally, self._now = tally, now

    def make(self, method: Callable[..., _Answer], request: object, scans: int) -> _Answer:
        """Return the answer to a call with so many scans; raises GaveUp."""
        status = ""
        for attempt in range(self.most):
            if attempt:
                self._tally.retried(self._now(), scans)
            try:
                return method(request, timeout=self.deadline_s, metadata=self.metadata)
            except grpc.RpcError as error:
                status = status_of(error)
                self._tally.attempt_failed(self._now(), status, scans)
        raise GaveUp(status)


def status_of(error: Any) -> str:
    """Return the name of the gRPC status that a call ended with."""
    return str(error.code().name)


def stub_on(channel: grpc.Channel) -> pb_grpc.VerifierServiceStub:
    """Return the verifier's methods."""
    return pb_grpc.VerifierServiceStub(channel)


def _name_of_all(addresses: Sequence[str]) -> str:
    """Return one gRPC name for all addresses; names of machines are looked up once."""
    found = [_look_up(address) for address in addresses]
    families = {family for family, _ in found}
    if len(families) != 1:
        raise CannotConnect("--host: expected addresses of one family, IPv4 or IPv6")
    return f"{'ipv6' if families == {socket.AF_INET6} else 'ipv4'}:{','.join(one for _, one in found)}"


def _look_up(address: str) -> tuple[socket.AddressFamily, str]:
    host, _, port = address.rpartition(":")
    try:
        family, _, _, _, found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise CannotConnect(f"--host {address}: {error.strerror or error}") from None
    name = str(found[0])
    return family, f"[{name}]:{port}" if family == socket.AF_INET6 else f"{name}:{port}"
