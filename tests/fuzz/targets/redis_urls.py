"""URLs of Redis: whatever a setting says, it can be used, or is a ValueError that quotes nothing of it but
the name of an option that there is not.
"""

import re

from tests.fuzz.target import Input, Target
from verifier.redis_connection import connect

_PASSWORD = b"s3cr3t-Pa55"
_EXAMPLE = re.compile(r"(redis|rediss|unix)(\+[a-z]+)?://\S*")
_OPTION = re.compile(r"got [a-z_]+$")


def run(content: bytes) -> None:
    """Read one; nothing is connected to before the first use."""
    url = Input(content).rest().decode("utf-8", "replace")
    try:
        connect(url, reply_timeout_s=1.0, client_name="fuzz").close()
    except ValueError as error:
        text = str(error)
        assert _PASSWORD.decode() not in text
        assert error.__cause__ is None
        # Beside the examples of a URL, and an option's name, nothing of what was given is told: it may be
        # a password.
        own_words = _OPTION.sub("", _EXAMPLE.sub("", text))
        given = url.partition("://")[2]
        assert not any(given[at : at + 8] in own_words for at in range(len(given) - 7))


def seeds() -> list[bytes]:
    """Return the forms there are."""
    secret = _PASSWORD.decode()
    return [
        one.encode()
        for one in (
            "redis://127.0.0.1:6379/0",
            f"rediss://user:{secret}@host:6380/1?ssl_cert_reqs=none",
            f"unix://user:{secret}@/tmp/redis.sock?db=2",
            f"redis://:{secret}@[::1]:1/x",
            f"redis://u:{secret}@h:port/0",
            f"redis+sentinel://u:{secret}@a:26379,b:26379/mymaster/0",
            f"redis+cluster://u:{secret}@a:7000,b:7001",
            f"rediss+sentinel://{secret}@a/mymaster",
            "redis://h?socket_timeuot=1",
            "redis://h?socket_timeout=x&health_check_interval=1&max_connections=-1&protocol=3",
        )
    ]


TARGET = Target(
    "redis_urls",
    run,
    seeds,
    max_bytes=200,
    words=(
        b"redis://",
        b"rediss://",
        b"unix://",
        b"redis+sentinel://",
        b"redis+cluster://",
        b"?db=",
        b"%40",
        b"&socket_timeout=",
        b"&protocol=",
        b"&retry_on_timeout=",
        b"@",
        b"[::1]",
        b":65536",
        b"/0",
    ),
)
