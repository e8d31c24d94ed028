"""The configuration of one worker's Envoy (its bootstrap), from our settings. Pure.

What Envoy does for us: TLS and client certificates, bounds on connections, streams, headers, messages and
slow peers, deadlines, gRPC-Web and CORS for browsers, draining. What is left of a call reaches the ASGI
application with its whole message at once. Field names and defaults are those of Envoy's v3 API.

These protections are Envoy's own defaults and stand as they are:
    reset floods ("rapid reset", CVE-2023-44487)  a connection that resets most of its streams within a
                                                  second is closed once 500 have been
    empty DATA frames                             1 in a row
    PRIORITY, WINDOW_UPDATE frames                100 a stream, 10 for each DATA frame sent
    frames that wait to be sent                   10 000, of PING, SETTINGS and RST_STREAM 1 000
    CONTINUATION frames                           as many as the limit on headers allows
"""

import json
from typing import Any

from verifier.envoy.admin import STATS
from verifier.host.worker_config import TlsFiles, WorkerConfig
from verifier.limits import MAX_BATCH_BYTES, MAX_METADATA_BYTES, MAX_SCAN_BYTES, Limits

ADMIN_SOCKET = "envoy-{number}.sock"
_Json = dict[str, Any]

_SERVICE = "/verifier.v1.VerifierService/"
_TYPES = "type.googleapis.com/envoy.extensions."
_FRAME_BYTES = 5
# What a lane may send ahead of the answers; past it the stream is ended.
_STREAM_BUFFER_BYTES = 256 << 10
_MAX_HEADERS = 64
# Envoy's own memory; Python's is not in it. 4 096 connections with TLS take about 200 MiB.
_MAX_HEAP_BYTES = 512 << 20
_JITTER = 0.1
# Envoy's routes need a cluster to have time limits of their own; no call ever goes there.
_NOWHERE = "nowhere"


def admin_socket(config: WorkerConfig) -> str:
    """Return the path of the worker's admin socket."""
    return str(config.run_folder / ADMIN_SOCKET.format(number=config.number))


def bootstrap(config: WorkerConfig, *, module: str, app: str) -> _Json:
    """Return the bootstrap; `module` is the path of pyvoy's dynamic module, `app` is `module:attribute`."""
    return {
        # There is one admin interface, for draining, and only whoever may enter the run folder has it.
        "admin": {"address": {"pipe": {"path": admin_socket(config), "mode": 0o600}}},
        "static_resources": {
            "listeners": [_listener(config, module, app)],
            "clusters": [{"name": _NOWHERE, "type": "STATIC", "connect_timeout": "1s"}],
        },
        "overload_manager": _overload_manager(config.limits),
        # The supervisor's metrics come from shared memory: of Envoy's, only what we ask for is kept.
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [{"exact": name} for name in STATS]}}
        },
    }


def _listener(config: WorkerConfig, module: str, app: str) -> _Json:
    chain: _Json = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": _http(config, module, app),
            }
        ]
    }
    if config.tls is not None:
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": _tls(config.tls),
        }
        chain["transport_socket_connect_timeout"] = _duration(config.limits.slow_peer_s)
    address: _Json = {"address": config.host, "port_value": config.port}
    if config.host == "::":
        address["ipv4_compat"] = True
    return {
        "name": "verifier",
        "address": {"socket_address": address},
        "enable_reuse_port": True,
        "per_connection_buffer_limit_bytes": _STREAM_BUFFER_BYTES,
        # It reads the first bytes of a connection, so that one that says nothing is not kept.
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": _typed("filters.listener.tls_inspector.v3.TlsInspector"),
            }
            if config.tls is not None
            else {
                "name": "envoy.filters.listener.http_inspector",
                "typed_config": _typed("filters.listener.http_inspector.v3.HttpInspector"),
            }
        ],
        "listener_filters_timeout": _duration(config.limits.slow_peer_s),
        "filter_chains": [chain],
    }


def _tls(files: TlsFiles) -> _Json:
    common: _Json = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(files.certificate)},
                "private_key": {"filename": str(files.key)},
            }
        ],
        "alpn_protocols": ["h2", "http/1.1"],
    }
    if files.client_ca is not None:
        common["validation_context"] = {"trusted_ca": {"filename": str(files.client_ca)}}
    return _typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=files.client_ca is not None,
    )


def _http(config: WorkerConfig, module: str, app: str) -> _Json:
    limits = config.limits
    return _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="verifier",
        # HTTP/2, or HTTP/1.1 for gRPC-Web, by the first bytes or ALPN.
        codec_type="AUTO",
        # The app believes this header, so it is never a client's: removed, and set from the certificate.
        forward_client_cert_details="SANITIZE_SET",
        # What a client says of itself in x-forwarded-for and the like is not believed either.
        use_remote_address=True,
        skip_xff_append=True,
        generate_request_id=False,
        server_header_transformation="PASS_THROUGH",
        max_request_headers_kb=MAX_METADATA_BYTES >> 10,
        request_headers_timeout=_duration(limits.slow_peer_s),
        # Only for what the routes below do not know.
        stream_idle_timeout=_duration(limits.slow_peer_s),
        # Between "no new calls, please" and the end of a connection: a round trip, generously.
        drain_timeout="1s",
        common_http_protocol_options={
            "idle_timeout": _duration(limits.connection_idle_s),
            "max_connection_duration": _duration(limits.connection_age_s * (1 - _JITTER)),
            "max_connection_duration_jitter": {"value": 100 * 2 * _JITTER / (1 - _JITTER)},
            "max_headers_count": _MAX_HEADERS,
        },
        http2_protocol_options={
            "max_concurrent_streams": limits.max_streams_per_connection,
            "initial_stream_window_size": 65_535,
            "initial_connection_window_size": 1 << 20,
            # Gates that lost power do not keep connections for ever.
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
        route_config={"virtual_hosts": [_virtual_host(config)]},
        http_filters=_filters(module, app),
        local_reply_config={"mappers": [_too_big()]},
    )


def _virtual_host(config: WorkerConfig) -> _Json:
    host: _Json = {"name": "verifier", "domains": ["*"], "routes": _routes(config.limits)}
    if config.cors_origins:
        host["typed_per_filter_config"] = {
            "envoy.filters.http.cors": _typed(
                "filters.http.cors.v3.CorsPolicy",
                allow_origin_string_match=[{"exact": origin} for origin in config.cors_origins],
                allow_methods="POST",
                allow_headers="authorization,content-type,grpc-timeout,x-grpc-web,x-user-agent",
                expose_headers="grpc-status,grpc-message,grpc-status-details-bin,grpc-retry-pushback-ms",
                max_age="7200",
            )
        }
    return host


def _routes(limits: Limits) -> list[_Json]:
    """Return the bounds of each method; a call's own deadline holds wherever it is shorter."""
    slow_peer_s = limits.slow_peer_s
    return [
        _route({"path": _SERVICE + "VerifyCode"}, slow_peer_s, MAX_SCAN_BYTES),
        _route({"path": _SERVICE + "VerifyCodes"}, 3 * slow_peer_s, MAX_BATCH_BYTES),
        # A lane keeps its stream open all day, and nobody may come for hours. So does who watches.
        _route({"path": _SERVICE + "StreamVerify"}, None, None),
        _route({"path": "/grpc.health.v1.Health/Watch"}, None, None),
        _route({"prefix": "/grpc.reflection."}, 3 * slow_peer_s, None),
        _route({"prefix": "/"}, slow_peer_s, MAX_SCAN_BYTES),
    ]


def _route(match: _Json, max_duration_s: float | None, max_message_bytes: int | None) -> _Json:
    """Return a route; without `max_message_bytes` a message is passed on as its bytes come."""
    duration: _Json = {"grpc_timeout_header_max": _duration(max_duration_s or 0)}  # 0: as the call says
    if max_duration_s is not None:
        duration["max_stream_duration"] = _duration(max_duration_s)
    kept: _Json
    if max_message_bytes is None:
        kept = _typed("filters.http.buffer.v3.BufferPerRoute", disabled=True)
        buffer_bytes = _STREAM_BUFFER_BYTES
    else:
        buffer_bytes = _FRAME_BYTES + max_message_bytes
        kept = _typed("filters.http.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": buffer_bytes})
    return {
        "match": match,
        "route": {"cluster": _NOWHERE, "idle_timeout": "0s", "max_stream_duration": duration},
        "request_body_buffer_limit": buffer_bytes,
        "typed_per_filter_config": {"envoy.filters.http.buffer": kept},
    }


def _filters(module: str, app: str) -> list[_Json]:
    settings = {"app": app, "interface": "asgi", "root_path": "", "lifespan": True}
    return [
        {"name": "envoy.filters.http.cors", "typed_config": _typed("filters.http.cors.v3.Cors")},
        {"name": "envoy.filters.http.grpc_web", "typed_config": _typed("filters.http.grpc_web.v3.GrpcWeb")},
        {
            "name": "envoy.filters.http.buffer",
            "typed_config": _typed(
                "filters.http.buffer.v3.Buffer", max_request_bytes=_FRAME_BYTES + MAX_SCAN_BYTES
            ),
        },
        {
            "name": "pyvoy",
            "typed_config": _typed(
                "filters.http.dynamic_modules.v3.DynamicModuleFilter",
                dynamic_module_config={"module": {"local": {"filename": module}}},
                filter_name="pyvoy",
                terminal_filter=True,
                filter_config={
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": json.dumps(settings),
                },
            ),
        },
    ]


def _too_big() -> _Json:
    """Return what makes gRPC's RESOURCE_EXHAUSTED (8) of Envoy's 413; it would be UNKNOWN."""
    status = {"header": {"key": "grpc-status", "value": "8"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "filter": {
            "status_code_filter": {
                "comparison": {"op": "EQ", "value": {"default_value": 413, "runtime_key": "verifier.too_big"}}
            }
        },
        "headers_to_add": [status],
        "body": {"inline_string": "the message is over its limit"},
    }


def _overload_manager(limits: Limits) -> _Json:
    def when_memory_is(name: str, share: float) -> _Json:
        trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}
        return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": _typed(
                    "resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=_MAX_HEAP_BYTES
                ),
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": _typed(
                    "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=limits.max_connections,
                ),
            },
        ],
        "actions": [
            when_memory_is("shrink_heap", 0.8),
            when_memory_is("stop_accepting_connections", 0.9),
            when_memory_is("disable_http_keepalive", 0.9),
            when_memory_is("stop_accepting_requests", 0.95),
        ],
    }


def _typed(name: str, **fields: Any) -> _Json:
    return {"@type": _TYPES + name, **fields}


def _duration(seconds: float) -> str:
    """Return it as protobuf's JSON has a Duration."""
    return f"{seconds:.3f}s"
