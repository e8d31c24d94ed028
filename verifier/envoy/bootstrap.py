"""The configuration of one worker's Envoy (its bootstrap), from our settings. Pure.

What Envoy does for us: TLS and client certificates, bounds on connections, streams, headers, messages and
slow peers, deadlines, gRPC-Web and CORS for browsers, draining. A call with a short message reaches the ASGI
application with all of it at once; batches and lanes are read by the application when it knows who calls:
of what Envoy keeps, strangers could fill its memory. Field names and defaults are those of Envoy's v3 API.

These protections are Envoy's own defaults and stand as they are:
    reset floods ("rapid reset", CVE-2023-44487)  a connection that resets most of its streams within a
                                                  second is closed once 500 have been
    empty DATA frames                             1 in a row
    PRIORITY, WINDOW_UPDATE frames                100 a stream, 10 for each DATA frame sent
    frames that wait to be sent                   10 000, of PING, SETTINGS and RST_STREAM 1 000
    CONTINUATION frames                           as many as the limit on headers allows
"""

import json

from verifier.call_error import too_big
from verifier.envoy.admin import STATS
from verifier.envoy.overload import overload_manager
from verifier.envoy.proto_json import Json, duration, typed
from verifier.host.worker_config import TlsFiles, WorkerConfig
from verifier.limits import MAX_METADATA_BYTES, MAX_SCAN_BYTES, Limits

ADMIN_SOCKET = "envoy-{number}.sock"

_SERVICE = "/verifier.v1.VerifierService/"
_FRAME_BYTES = 5
# What a lane may send ahead of the answers; past it the stream is ended.
_STREAM_BUFFER_BYTES = 256 << 10
# What a connection may send ahead, its streams together.
_CONNECTION_WINDOW_BYTES = 128 << 10
# As many as there can be by HTTP/2's count of bytes, in which each takes 32 more than its name and value.
_MAX_HEADERS = MAX_METADATA_BYTES // 32
_JITTER = 0.1
# Envoy's routes need a cluster to have time limits of their own; no call ever goes there.
_NOWHERE = "nowhere"


def admin_socket(config: WorkerConfig) -> str:
    """Return the path of the worker's admin socket."""
    return str(config.run_folder / ADMIN_SOCKET.format(number=config.number))


def bootstrap(config: WorkerConfig, *, module: str, app: str) -> Json:
    """Return the bootstrap; `module` is the path of pyvoy's dynamic module, `app` is `module:attribute`."""
    return {
        # There is one admin interface, for draining, and only whoever may enter the run folder has it.
        "admin": {"address": {"pipe": {"path": admin_socket(config), "mode": 0o600}}},
        "static_resources": {
            "listeners": [_listener(config, module, app)],
            "clusters": [{"name": _NOWHERE, "type": "STATIC", "connect_timeout": "1s"}],
        },
        "overload_manager": overload_manager(config.limits),
        # The supervisor's metrics come from shared memory: of Envoy's, only what we ask for is kept.
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [{"exact": name} for name in STATS]}}
        },
    }


def _listener(config: WorkerConfig, module: str, app: str) -> Json:
    chain: Json = {
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
        chain["transport_socket_connect_timeout"] = duration(config.limits.slow_peer_s)
    address: Json = {"address": config.host, "port_value": config.port}
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
                "typed_config": typed("filters.listener.tls_inspector.v3.TlsInspector"),
            }
            if config.tls is not None
            else {
                "name": "envoy.filters.listener.http_inspector",
                "typed_config": typed("filters.listener.http_inspector.v3.HttpInspector"),
            }
        ],
        "listener_filters_timeout": duration(config.limits.slow_peer_s),
        "filter_chains": [chain],
    }


def _tls(files: TlsFiles) -> Json:
    common: Json = {
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
    return typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=files.client_ca is not None,
    )


def _http(config: WorkerConfig, module: str, app: str) -> Json:
    limits = config.limits
    return typed(
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
        request_headers_timeout=duration(limits.slow_peer_s),
        # Only for what the routes below do not know.
        stream_idle_timeout=duration(limits.slow_peer_s),
        # Between "no new calls, please" and the end of a connection: a round trip, generously.
        drain_timeout="1s",
        common_http_protocol_options={
            "idle_timeout": duration(limits.connection_idle_s),
            "max_connection_duration": duration(limits.connection_age_s * (1 - _JITTER)),
            "max_connection_duration_jitter": {"value": 100 * 2 * _JITTER / (1 - _JITTER)},
            "max_headers_count": _MAX_HEADERS,
        },
        http2_protocol_options={
            "max_concurrent_streams": limits.max_streams_per_connection,
            "initial_stream_window_size": 65_535,
            "initial_connection_window_size": _CONNECTION_WINDOW_BYTES,
            # Gates that lost power do not keep connections for ever.
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
        route_config={"virtual_hosts": [_virtual_host(config)]},
        http_filters=_filters(module, app),
        local_reply_config={"mappers": [_too_big()]},
    )


def _virtual_host(config: WorkerConfig) -> Json:
    host: Json = {"name": "verifier", "domains": ["*"], "routes": _routes(config.limits)}
    if config.cors_origins:
        host["typed_per_filter_config"] = {
            "envoy.filters.http.cors": typed(
                "filters.http.cors.v3.CorsPolicy",
                allow_origin_string_match=[{"exact": origin} for origin in config.cors_origins],
                allow_methods="POST",
                allow_headers="authorization,content-type,grpc-timeout,x-grpc-web,x-user-agent",
                expose_headers="grpc-status,grpc-message,grpc-status-details-bin,grpc-retry-pushback-ms",
                max_age="7200",
            )
        }
    return host


def _routes(limits: Limits) -> list[Json]:
    """Return the bounds of each method; a call's own deadline holds wherever it is shorter."""
    slow_peer_s = limits.slow_peer_s
    return [
        _route({"path": _SERVICE + "VerifyCode"}, slow_peer_s, MAX_SCAN_BYTES),
        _route({"path": _SERVICE + "VerifyCodes"}, 3 * slow_peer_s, None),
        # A lane keeps its stream open all day, and nobody may come for hours. So does who watches.
        _route({"path": _SERVICE + "StreamVerify"}, None, None),
        _route({"path": "/grpc.health.v1.Health/Watch"}, None, None),
        _route({"prefix": "/grpc.reflection."}, 3 * slow_peer_s, None),
        _route({"prefix": "/"}, slow_peer_s, MAX_SCAN_BYTES),
    ]


def _route(match: Json, max_duration_s: float | None, max_message_bytes: int | None) -> Json:
    """Return a route; without `max_message_bytes` a message is passed on as its bytes come."""
    longest: Json = {"grpc_timeout_header_max": duration(max_duration_s or 0)}  # 0: as the call says
    if max_duration_s is not None:
        longest["max_stream_duration"] = duration(max_duration_s)
    # What is not to last is ended sooner when memory is short, and that is done by this time-out.
    idle_s = max_duration_s or 0
    kept: Json
    if max_message_bytes is None:
        kept = typed("filters.http.buffer.v3.BufferPerRoute", disabled=True)
        buffer_bytes = _STREAM_BUFFER_BYTES
    else:
        buffer_bytes = _FRAME_BYTES + max_message_bytes
        kept = typed("filters.http.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": buffer_bytes})
    return {
        "match": match,
        "route": {"cluster": _NOWHERE, "idle_timeout": duration(idle_s), "max_stream_duration": longest},
        "request_body_buffer_limit": buffer_bytes,
        "typed_per_filter_config": {"envoy.filters.http.buffer": kept},
    }


def _filters(module: str, app: str) -> list[Json]:
    settings = {"app": app, "interface": "asgi", "root_path": "", "lifespan": True}
    return [
        {"name": "envoy.filters.http.cors", "typed_config": typed("filters.http.cors.v3.Cors")},
        {"name": "envoy.filters.http.grpc_web", "typed_config": typed("filters.http.grpc_web.v3.GrpcWeb")},
        {
            "name": "envoy.filters.http.buffer",
            "typed_config": typed(
                "filters.http.buffer.v3.Buffer", max_request_bytes=_FRAME_BYTES + MAX_SCAN_BYTES
            ),
        },
        {
            "name": "pyvoy",
            "typed_config": typed(
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


def _too_big() -> Json:
    """Return what makes gRPC's RESOURCE_EXHAUSTED (8) of Envoy's 413; it would be UNKNOWN."""
    status = {"header": {"key": "grpc-status", "value": "8"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "filter": {
            "status_code_filter": {
                "comparison": {"op": "EQ", "value": {"default_value": 413, "runtime_key": "verifier.too_big"}}
            }
        },
        "headers_to_add": [status],
        "body": {"inline_string": too_big(MAX_SCAN_BYTES).message},
    }
