"""Hostile bytes on the socket of a verifier, and an honest gate beside them that must not notice.

    random bytes · frames of HTTP/2 at random · a sound call with bytes turned · calls cut off anywhere ·
    gRPC messages at random · calls reset at once · HPACK bombs · headers without end · floods of SETTINGS and
    PING · TLS and HTTP/1.1 to a port of neither

What is sent has a marker in it wherever there is room for text: a log that has it quotes what peers send.
"""

import contextlib
import random
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.signer import Signer
from tests.verifier.raw_http2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    header_block,
)
from verifier.client import NoAnswer, VerifierClient
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Verdict

MARKER = b"H0stileBytes"
_CONTINUATION, _PING, _WINDOW_UPDATE = 9, 6, 8
_PATHS = ("VerifyCode", "VerifyCodes", "StreamVerify")
_HEALTH = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")
_SERVICE = pb.DESCRIPTOR.services_by_name["VerifierService"].full_name
# A peer that is not answered looks elsewhere: there are many more attacks to make.
_PATIENCE_S = 0.05
_MIB = 1 << 20


@dataclass
class Outcome:
    """What came of it."""

    attacks: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def attack(port: int, rng: random.Random, outcome: Outcome) -> None:
    """Make one connection, and do harm there."""
    name = rng.choice(list(_ATTACKS))
    outcome.attacks[name] += 1
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as peer:
        peer.settimeout(_PATIENCE_S)
        for content in _ATTACKS[name](rng):
            outcome.sent_bytes += len(content)
            peer.sendall(content)
        if rng.random() < 0.5:
            with contextlib.suppress(TimeoutError):
                while peer.recv(1 << 16):
                    pass


def _random(rng: random.Random) -> Iterator[bytes]:
    yield rng.randbytes(rng.randrange(4_096)) + MARKER


def _frames(rng: random.Random) -> Iterator[bytes]:
    yield PREFACE + frame(SETTINGS)
    for _ in range(rng.randrange(1, 20)):
        stream = rng.choice((0, 1, 2, 3, rng.randrange(1 << 32)))
        payload = rng.randbytes(rng.randrange(64)) + MARKER
        if rng.random() < 0.1:
            payload *= rng.randrange(1, 1_500)
        yield frame(rng.choice((*range(11), rng.randrange(256))), rng.randrange(256), stream, payload)


def _call(path: str, message: bytes, stream: int = 1, flag: int = 0) -> bytes:
    body = bytes([flag]) + len(message).to_bytes(4, "big") + message
    return frame(HEADERS, END_HEADERS, stream, header_block(path)) + frame(DATA, 1, stream, body)


def _path(rng: random.Random) -> str:
    return rng.choice((*(f"/{_SERVICE}/{name}" for name in _PATHS), *_HEALTH, f"/{MARKER.decode()}"))


def _sound(rng: random.Random) -> bytes:
    scan = pb.VerifyCodeRequest(
        qr_text=b"GL1:" + MARKER + rng.randbytes(20), scan_id=MARKER.decode(), gate_id=MARKER.decode()
    )
    message = rng.choice(
        (scan, pb.VerifyCodesRequest(scans=[scan] * rng.randrange(1, 9)), pb.StreamVerifyRequest(scan=scan))
    )
    return message.SerializeToString()


def _turned(rng: random.Random) -> Iterator[bytes]:
    content = bytearray(PREFACE + frame(SETTINGS) + _call(_path(rng), _sound(rng)))
    for _ in range(rng.randrange(1, 6)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    yield bytes(content)


def _cut(rng: random.Random) -> Iterator[bytes]:
    content = PREFACE + frame(SETTINGS) + _call(_path(rng), _sound(rng))
    yield content[: rng.randrange(len(content))]


def _messages(rng: random.Random) -> Iterator[bytes]:
    yield PREFACE + frame(SETTINGS)
    for number in range(rng.randrange(1, 12)):
        message = bytearray(_sound(rng))
        for _ in range(rng.randrange(8)):
            message[rng.randrange(len(message))] = rng.randrange(256)
        body = bytes([rng.choice((0, 0, 0, 1, 255))]) + rng.choice(
            (len(message), len(message) + 1, 0, 2**32 - 1)
        ).to_bytes(4, "big")
        stream = 2 * number + 1
        yield frame(HEADERS, END_HEADERS, stream, header_block(_path(rng)))
        yield frame(DATA, rng.randrange(2), stream, body + bytes(message))


def _resets(rng: random.Random) -> Iterator[bytes]:
    yield PREFACE + frame(SETTINGS)
    block, code = header_block(_path(rng)), CANCEL.to_bytes(4, "big")
    for number in range(300):
        stream = 2 * number + 1
        yield frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, code)


def _hpack(rng: random.Random) -> Iterator[bytes]:
    """A header of 3 900 bytes goes into the dynamic table once, and is named thousands of times."""
    yield PREFACE + frame(SETTINGS)
    value = MARKER * 325
    length = b"\x7f" + bytes([0x80 | (len(value) - 127) % 128, (len(value) - 127) // 128])
    bomb = b"\x40\x01x" + length + value + b"\xbe" * rng.randrange(100, 12_000)
    odd = rng.choice(
        (
            bomb,
            b"\xff" * 40,  # a number that never ends
            b"\x3f\xe1\xff\xff\xff\x0f" * 100,  # the table is to be huge, again and again
            b"\x00\xff" + rng.randbytes(300),  # Huffman, or not
            b"\x80" * 9,  # the entry 0
            header_block(_path(rng))[: rng.randrange(5, 60)],
        )
    )
    yield frame(HEADERS, END_HEADERS, 1, header_block(_path(rng)) + odd)[: 1 << 14]


def _endless(rng: random.Random) -> Iterator[bytes]:
    yield PREFACE + frame(SETTINGS) + frame(HEADERS, 0, 1, header_block(_path(rng)))
    piece = b"\0\x04more\x0c" + MARKER
    for _ in range(rng.randrange(1, 200)):
        yield frame(_CONTINUATION, 0, 1, piece * rng.randrange(60))


def _floods(rng: random.Random) -> Iterator[bytes]:
    yield PREFACE
    one = rng.choice(
        (
            frame(SETTINGS),
            frame(SETTINGS, payload=rng.randbytes(6) * 30),
            frame(_PING, payload=b"12345678"),
            frame(_WINDOW_UPDATE, payload=(2**31 - 1).to_bytes(4, "big")),
            frame(DATA, 0, 1, b""),
        )
    )
    for _ in range(20):
        yield one * 100


def _others(rng: random.Random) -> Iterator[bytes]:
    hello = bytes.fromhex("16030100c8010000c40303") + rng.randbytes(190)
    yield rng.choice(
        (
            hello,
            b"GET /" + MARKER + b" HTTP/1.1\r\nhost: x\r\n\r\n",
            b"POST /"
            + _SERVICE.encode()
            + b"/VerifyCode HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n",
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n" + MARKER,
            b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1\r\ny\r\n",
            b"\0" * 2_000,
        )
    )


_ATTACKS: Mapping[str, Callable[[random.Random], Iterator[bytes]]] = {
    "random bytes": _random,
    "frames at random": _frames,
    "bytes turned": _turned,
    "cut off": _cut,
    "messages at random": _messages,
    "resets": _resets,
    "HPACK": _hpack,
    "endless headers": _endless,
    "floods": _floods,
    "another protocol": _others,
}


def hostile_beside_honest(
    port: int, *, seconds: float, expected: Mapping[int, Verdict], seed: int = 1, pause_s: float = 0.0
) -> Outcome:
    """Attack a verifier for so long while an honest gate asks about the credentials `expected`."""
    outcome = Outcome()
    over = threading.Event()

    def attacks(number: int) -> None:
        rng = random.Random(seed * 1_000 + number)
        while not over.wait(pause_s):
            attack(port, rng, outcome)

    attackers = [threading.Thread(target=attacks, args=(number,), daemon=True) for number in range(2)]
    with VerifierClient(f"127.0.0.1:{port}", gate_id="honest") as gate:
        for attacker in attackers:
            attacker.start()
        try:
            _be_honest(gate, outcome, expected, time.monotonic() + seconds, pause_s)
        finally:
            over.set()
            for attacker in attackers:
                attacker.join()
    return outcome


def _be_honest(
    gate: VerifierClient, outcome: Outcome, expected: Mapping[int, Verdict], ends_at: float, pause_s: float
) -> None:
    signer = Signer()
    while time.monotonic() < ends_at:
        for index, verdict in expected.items():
            qr_text = signer.qr_text(not_before=int(time.time()), credential_index=index)
            try:
                answer = gate.verify(qr_text)
            except NoAnswer as error:
                outcome.failed.append(type(error).__name__)
                continue
            outcome.answered += 1
            if answer.verdict is not verdict:
                outcome.wrong.append(f"{answer.verdict} for {verdict}")
        time.sleep(pause_s)


def main(engine: str, seconds: int) -> int:
    """Attack a verifier of an engine, started for it; return the exit code."""
    from loadtest.embedded_redis import EmbeddedRedis
    from tests.verifier.engines.serving import GREEN_INDEX, RED_INDEX, publish, serving

    expected = {GREEN_INDEX: Verdict.GREEN, RED_INDEX: Verdict.RED}
    with tempfile.TemporaryDirectory(prefix="fuzz-server-") as name:
        folder = Path(name)
        with EmbeddedRedis(folder) as redis:
            publish(redis.url)
            with serving(engine, redis.url, folder) as served:
                parent = psutil.Process(served.process.pid)
                hostile_beside_honest(
                    served.port, seconds=min(5.0, seconds / 4), expected=expected
                )  # to warm up
                before = _used(parent)
                outcome = hostile_beside_honest(served.port, seconds=seconds, expected=expected, seed=2)
                time.sleep(1)  # for connections to be let go
                after = _used(parent)
                log = served.log.read_bytes()
    for what, count in sorted(outcome.attacks.items()):
        print(f"  {what:<20} {count:>8,}")
    print(f"{sum(outcome.attacks.values()):,} attacks, {outcome.sent_bytes / _MIB:,.1f} MiB sent")
    print(f"honest: {outcome.answered:,} right, {len(outcome.failed)} failed, {len(outcome.wrong)} wrong")
    print(
        f"memory {before[1] / _MIB:.0f} -> {after[1] / _MIB:.0f} MiB, descriptors {before[2]} -> {after[2]}"
    )
    problems = [
        *(["calls of an honest gate failed"] if outcome.failed else []),
        *(["verdicts were wrong"] if outcome.wrong else []),
        *(["a worker was started anew"] if before[0] != after[0] else []),
        *(["memory grew"] if after[1] > before[1] + 64 * _MIB else []),
        *(["descriptors were not let go"] if after[2] > before[2] + 16 else []),
        *(["the log quotes what was sent"] if MARKER in log else []),
        *(["there is a traceback in the log"] if b"Traceback" in log else []),
    ]
    print("\n".join(problems) or "nothing found")
    if problems:
        print(log.decode(errors="replace")[-3_000:])
    return 1 if problems else 0


def _used(parent: psutil.Process) -> tuple[frozenset[int], int, int]:
    """Return the processes of a verifier, their memory, and the descriptors of the fullest."""
    every = [parent, *parent.children(recursive=True)]
    return (
        frozenset(one.pid for one in every),
        sum(one.memory_info().rss for one in every),
        max(one.num_fds() for one in every),
    )
