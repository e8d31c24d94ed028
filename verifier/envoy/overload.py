"""What a worker's Envoy does when memory or connections run out. Pure.

Without a credential one can open connections and begin calls, and both take memory. So what is not to last is
ended sooner first, then nobody new is let in, and gates that are here are refused last.
"""

from verifier.envoy.proto_json import Json, duration, typed
from verifier.limits import Limits

# Envoy's own memory; Python's is not in it. 4 096 connections with TLS take about 200 MiB.
_MAX_HEAP_BYTES = 512 << 20
# For how long a call may be idle when memory is short.
_SHORTEST_IDLE_S = 0.5


def overload_manager(limits: Limits) -> Json:
    """Return the part of the bootstrap that says so."""

    def when_memory_is(name: str, share: float) -> Json:
        trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}
        return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}

    return {
        "refresh_interval": "0.1s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": typed(
                    "resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=_MAX_HEAP_BYTES
                ),
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": typed(
                    "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=limits.max_connections,
                ),
            },
        ],
        "actions": [
            # Who sends half of a call, many times, has not long to wait; lanes are let be.
            _reduce_timeouts(0.5, 0.7),
            when_memory_is("shrink_heap", 0.8),
            # New connections are refused before the calls of those who are here, who are not told to connect
            # again: that would make strangers of them.
            when_memory_is("stop_accepting_connections", 0.8),
            when_memory_is("stop_accepting_requests", 0.98),
        ],
    }


def _reduce_timeouts(from_share: float, to_share: float) -> Json:
    """Return what lets calls be idle for less time, the more memory is in use."""
    trigger = {
        "name": "envoy.resource_monitors.fixed_heap",
        "scaled": {"scaling_threshold": from_share, "saturation_threshold": to_share},
    }
    timer = {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": duration(_SHORTEST_IDLE_S)}
    return {
        "name": "envoy.overload_actions.reduce_timeouts",
        "triggers": [trigger],
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
            "timer_scale_factors": [timer],
        },
    }
