"""What Envoy is told."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from verifier.envoy.bootstrap import admin_socket, bootstrap
from verifier.host.worker_config import GateAuth, TlsFiles, WorkerConfig
from verifier.limits import Limits
from verifier.verdict import Policy

CONFIG = WorkerConfig(
    number=3,
    host="127.0.0.1",
    port=50051,
    root_public_key=bytes(32),
    redis_url="redis://:secret@redis/0",
    max_workers=4,
    policy=Policy(),
    gate_auth=GateAuth.NONE,
    tls=None,
    journal=None,
    journal_limit_bytes=1,
    limits=Limits(max_connections=77, max_streams_per_connection=9, slow_peer_s=2.5, connection_age_s=1000.0),
    has_reflection=False,
    grace_s=5,
    run_folder=Path("/run/gatelight"),
    shared_fd=3,
    life_fd=4,
)
TLS = TlsFiles(Path("/tls/server.pem"), Path("/tls/server.key"))


def built(**changes: Any) -> dict[str, Any]:
    return bootstrap(dataclasses.replace(CONFIG, **changes), module="/lib/pyvoy.so", app="a:app")


def listener(**changes: Any) -> Any:
    (listener,) = built(**changes)["static_resources"]["listeners"]
    return listener


def http(**changes: Any) -> Any:
    return listener(**changes)["filter_chains"][0]["filters"][0]["typed_config"]


def routes() -> dict[str, Any]:
    (host,) = http()["route_config"]["virtual_hosts"]
    return {next(iter(route["match"].values())): route for route in host["routes"]}


def test_it_is_json_and_holds_no_secret() -> None:
    text = json.dumps(built(tls=TLS))
    assert "secret" not in text
    assert "redis" not in text


def test_the_admin_interface_is_a_socket_that_its_owner_alone_may_use() -> None:
    pipe = built()["admin"]["address"]["pipe"]
    assert pipe == {"path": "/run/gatelight/envoy-3.sock", "mode": 0o600}
    assert pipe["path"] == admin_socket(CONFIG)


@pytest.mark.parametrize("tls", [None, TLS, dataclasses.replace(TLS, client_ca=Path("/tls/ca.pem"))])
def test_what_the_app_believes_of_a_certificate_is_never_a_clients_own_word(tls: TlsFiles | None) -> None:
    assert http(tls=tls)["forward_client_cert_details"] == "SANITIZE_SET"
    assert http(tls=tls)["use_remote_address"] is True


def test_without_tls_there_is_none() -> None:
    assert "transport_socket" not in listener()["filter_chains"][0]


@pytest.mark.parametrize("client_ca", [None, Path("/tls/ca.pem")])
def test_with_a_client_ca_every_connection_needs_a_certificate(client_ca: Path | None) -> None:
    chain = listener(tls=dataclasses.replace(TLS, client_ca=client_ca))["filter_chains"][0]
    assert chain["transport_socket_connect_timeout"] == "2.500s"
    context = chain["transport_socket"]["typed_config"]
    assert context["require_client_certificate"] is (client_ca is not None)
    common = context["common_tls_context"]
    assert common["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert common["alpn_protocols"] == ["h2", "http/1.1"]
    assert ("validation_context" in common) is (client_ca is not None)


def test_workers_share_the_port() -> None:
    assert listener()["enable_reuse_port"] is True
    assert listener()["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 50051}
    assert listener(host="::")["address"]["socket_address"]["ipv4_compat"] is True


def test_connections_and_streams_are_bounded() -> None:
    monitors = built()["overload_manager"]["resource_monitors"]
    assert 77 in [m["typed_config"].get("max_active_downstream_connections") for m in monitors]
    assert http()["http2_protocol_options"]["max_concurrent_streams"] == 9


def test_a_connections_age_is_varied_by_a_tenth_to_either_side() -> None:
    common = http()["common_http_protocol_options"]
    shortest_s = float(common["max_connection_duration"].removesuffix("s"))
    longest_s = shortest_s * (1 + common["max_connection_duration_jitter"]["value"] / 100)
    assert (shortest_s, longest_s) == pytest.approx((900, 1100))


def test_a_call_with_one_message_is_bounded_in_time_and_size_and_a_lane_in_neither() -> None:
    service = "/verifier.v1.VerifierService/"
    for path in (service + "VerifyCode", service + "VerifyCodes", "/"):
        assert "max_stream_duration" in routes()[path]["route"]["max_stream_duration"]
    for path in (service + "VerifyCode", "/"):
        kept = routes()[path]["typed_per_filter_config"]["envoy.filters.http.buffer"]
        assert kept["buffer"]["max_request_bytes"] == (1 << 10) + 5
    lane = routes()[service + "StreamVerify"]
    assert lane["route"]["max_stream_duration"] == {"grpc_timeout_header_max": "0.000s"}
    assert lane["route"]["idle_timeout"] == "0.000s"
    assert lane["typed_per_filter_config"]["envoy.filters.http.buffer"]["disabled"] is True
    assert lane["request_body_buffer_limit"] < 1 << 20


def test_when_memory_is_short_half_a_call_is_ended_before_anybody_is_refused_and_strangers_are_first() -> (
    None
):
    actions = built()["overload_manager"]["actions"]
    (ended,) = [action for action in actions if action["name"].endswith(".reduce_timeouts")]
    (trigger,) = ended["triggers"]
    at = {
        action["name"].rpartition(".")[2]: action["triggers"][0]["threshold"]["value"]
        for action in actions
        if action is not ended
    }
    ended_from = trigger["scaled"]["saturation_threshold"]
    assert ended_from < at["stop_accepting_connections"] < at["stop_accepting_requests"]
    assert "disable_http_keepalive" not in at
    for path, route in routes().items():
        has_idle_timeout = route["route"]["idle_timeout"] != "0.000s"
        assert has_idle_timeout is not path.endswith(("StreamVerify", "Watch"))


def test_a_batch_is_not_kept_for_whoever_sends_it_before_it_is_known_who_that_is() -> None:
    batch = routes()["/verifier.v1.VerifierService/VerifyCodes"]
    assert batch["typed_per_filter_config"]["envoy.filters.http.buffer"]["disabled"] is True
    assert http()["http2_protocol_options"]["initial_connection_window_size"] <= 128 << 10


def test_pages_may_call_from_the_origins_given_and_from_no_other() -> None:
    (host,) = http()["route_config"]["virtual_hosts"]
    assert "typed_per_filter_config" not in host
    (host,) = http(cors_origins=("https://gate.example",))["route_config"]["virtual_hosts"]
    policy = host["typed_per_filter_config"]["envoy.filters.http.cors"]
    assert policy["allow_origin_string_match"] == [{"exact": "https://gate.example"}]
