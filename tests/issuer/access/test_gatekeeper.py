"""Authentication over a real socket. Certificates: tests/issuer/test_server.py."""

import grpc
import pytest
from prometheus_client import REGISTRY

from issuer.access.bearer import make_key
from issuer.client import IssuerClient
from issuer.register.database import Database
from issuer.v1 import issuer_pb2
from tests.issuer.refusals import refused_call, retry_after_s
from tests.issuer.serving import Serving

KEY_SET = issuer_pb2.GetKeySetRequest()


def ask(serving: Serving, *authorizations: str) -> None:
    """Call with these authorizations."""
    metadata = [("authorization", value) for value in authorizations]
    serving.client().issuer.GetKeySet(KEY_SET, metadata=metadata)


def refused(serving: Serving, *authorizations: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(serving, *authorizations)
    return caught.value.code(), caught.value.details() or ""


def test_none_an_unknown_and_a_revoked_client_get_the_same_answer(serving: Serving) -> None:
    revoked = serving.staff.keys["clerk"]
    ask(serving, f"Bearer {revoked}")
    serving.clients.revoke("clerk", now=1)
    answers = {
        refused(serving),
        refused(serving, f"Bearer {make_key()}"),
        refused(serving, f"Bearer {revoked}"),
        refused(serving, "Bearer nonsense"),
    }
    assert answers == {
        (
            grpc.StatusCode.UNAUTHENTICATED,
            "no client is known by this bearer key or certificate, or none was given",
        )
    }


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_in_any_case(serving: Serving, scheme: str) -> None:
    ask(serving, f"{scheme} {serving.staff.keys['app']}")


def test_other_schemes_and_two_authorizations_and_a_bare_key_are_refused(serving: Serving) -> None:
    key = serving.staff.keys["app"]
    for given in ((f"Basic {key}",), (f"Bearer {key}", f"Bearer {key}"), (key,), ("",), ("Bearer",)):
        assert refused(serving, *given)[0] is grpc.StatusCode.UNAUTHENTICATED


def test_the_eleventh_failure_in_a_minute_is_told_to_wait(serving: Serving) -> None:
    codes = [refused(serving, f"Bearer {make_key()}")[0] for _ in range(10)]
    assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 10
    error = refused_call(serving.client().issuer.GetKeySet, KEY_SET)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 1 <= retry_after_s(error) <= 6
    serving.clock_skew_s = 6
    assert refused(serving)[0] is grpc.StatusCode.UNAUTHENTICATED


def test_a_valid_key_passes_whatever_failed_at_its_address(serving: Serving) -> None:
    for _ in range(20):
        refused(serving)
    ask(serving, f"Bearer {serving.staff.keys['app']}")


def test_failures_are_counted_and_calls_of_clients_are_not(serving: Serving) -> None:
    name = "gatelight_issuer_failed_authentications_total"
    before = REGISTRY.get_sample_value(name) or 0.0
    for _ in range(12):
        refused(serving)
    ask(serving, f"Bearer {serving.staff.keys['app']}")
    assert REGISTRY.get_sample_value(name) == before + 12


def test_a_known_client_is_let_in_while_the_register_is_locked(
    serving: Serving, sqlite_database: Database
) -> None:
    app = serving.client("app").issuer
    app.GetKeySet(KEY_SET)
    with sqlite_database.write():
        app.GetKeySet(KEY_SET)


def test_a_key_is_refused_at_the_first_call_after_its_revocation_on_every_channel(serving: Serving) -> None:
    channels: list[IssuerClient] = [serving.client("app") for _ in range(3)]
    for client in channels:
        client.issuer.GetKeySet(KEY_SET)
    serving.clients.revoke("app", now=1)
    for client in channels:
        assert refused_call(client.issuer.GetKeySet, KEY_SET).code() is grpc.StatusCode.UNAUTHENTICATED
