"""How much one worker takes on at once, whatever engine it is."""

from dataclasses import dataclass

MAX_SCANS_PER_CALL = 1_000
MAX_ID_CHARACTERS = 64
# The longest scan of a gate that keeps to the API: 513 bytes of QR text, two ids, and room.
MAX_SCAN_BYTES = 1 << 10
# 1 000 scans with the longest ids and PAPER codes are about 500 KiB.
MAX_BATCH_BYTES = 1 << 20
# A bearer key, gRPC's own headers and a trace; what is over it is refused by the transport.
MAX_METADATA_BYTES = 8 << 10
# Long enough for a burst to pass, short enough for a person at a turnstile.
RETRY_DELAY_MS = 250


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that an operator may change; counts are for one worker."""

    threads: int = 16  # grpcio engine: for unary calls
    max_backlog: int = 4_096  # unary calls that may wait
    # While the one that waits longest has waited so long, others are refused: a quarter of a gate's deadline.
    max_wait_s: float = 0.5
    max_streams: int = 256  # open StreamVerify calls
    # Of one gate; of one connection, where no credential says which gate it is. There is no limit in time on
    # the first scan of a lane: one that is connected at dawn may be used at eight.
    max_streams_per_caller: int = 64
    batch_threads: int = 2  # grpcio engine
    max_batch_backlog: int = 32  # VerifyCodes calls that may wait; a full one takes a tenth of a second
    max_unfinished_batches: int = 64  # Envoy engine: VerifyCodes calls whose message is still coming
    # Of one gate or one connection, as with lanes; a VerifyCodes call is counted from its headers to its
    # answer. A quarter of those above, and half of those that may wait: others have places left. A caller's
    # second waits behind the first of others.
    max_batches_per_caller: int = 16
    max_connections: int = 4_096
    known_codes: int = 16_384  # codes remembered as verified, 7.5 MB; 0: none
    max_streams_per_connection: int = 128
    # Connections are spread over workers when they are made; ended at this age, give or take a tenth, they
    # spread anew. Clients connect again by themselves. The lanes on one are ended when the grace is over.
    connection_age_s: float = 1_800.0
    connection_age_grace_s: float = 30.0  # for calls under way on it, streams among them
    connection_idle_s: float = 900.0
    # A peer that does not finish its handshake, its headers or its message in this time is let go.
    slow_peer_s: float = 10.0
