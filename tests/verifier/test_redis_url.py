"""What a Redis URL may say, and that its password is in no message."""

import pytest

from verifier.redis_connection import CONNECT_TIMEOUT_S, RedisServers, connect
from verifier.redis_guides import ASK_TIMEOUT_S
from verifier.redis_url import Address, Form, RedisUrl


def test_a_server_is_left_to_redis_py() -> None:
    for url in ("redis://127.0.0.1:6379/2", "rediss://:secret@host", "unix:///run/redis.sock"):
        assert RedisUrl.parse(url).form is Form.SERVER


def test_sentinels_name_the_master_of_a_service() -> None:
    url = RedisUrl.parse("redis+sentinel://me:p%40ss@one:1,two,[::1]:3/city/4?sentinel_password=other")
    assert (url.form, url.service, url.is_tls) == (Form.SENTINEL, "city", False)
    assert url.hosts == (Address("one", 1), Address("two", 26_379), Address("::1", 3))
    assert url.options == {"username": "me", "password": "p@ss", "db": 4}
    assert url.sentinel_options == {"password": "other"}


def test_some_nodes_stand_for_a_cluster() -> None:
    url = RedisUrl.parse("rediss+cluster://:secret@one:1,two?ssl_ca_certs=ca.pem")
    assert (url.form, url.is_tls, url.service) == (Form.CLUSTER, True, "")
    assert url.hosts == (Address("one", 1), Address("two", 6_379))
    assert url.options == {"password": "secret", "ssl_ca_certs": "ca.pem"}


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@host",
        "redis+sentinel://:s3cret@host/city?sentinel_password=s3cret",
        "redis+cluster://:s3cret@host",
    ],
)
def test_what_was_read_shows_no_password(url: str) -> None:
    assert "s3cret" not in repr(RedisUrl.parse(url))


@pytest.mark.parametrize("form", ["redis://host/0", "redis+sentinel://host/city", "redis+cluster://host"])
def test_what_we_decide_stays_whatever_a_url_says(form: str) -> None:
    url = (
        f"{form}?socket_timeout=60&socket_connect_timeout=60&protocol=3&client_name=x&health_check_interval=7"
    )
    with connect(url, reply_timeout_s=0.5, client_name="test") as client:
        connection = client.connection_pool.make_connection()
        assert (connection.socket_timeout, connection.socket_connect_timeout) == (0.5, CONNECT_TIMEOUT_S)
        assert (connection.protocol, connection.client_name) == (2, "test")
        assert connection.health_check_interval == 7


@pytest.mark.parametrize("form", ["redis+sentinel://host/city", "redis+cluster://host"])
def test_a_question_about_where_to_connect_is_short_whatever_a_url_says(form: str) -> None:
    servers = RedisServers(f"{form}?socket_timeout=60&protocol=3", reply_timeout_s=1, client_name="test")
    with servers._asking(Address("host", 1)) as client:
        connection = client.connection_pool.make_connection()
        assert (connection.socket_timeout, connection.protocol) == (ASK_TIMEOUT_S, 2)


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("redis://:s3cret@host/0?retry_on_timeuot=s3cret", "retry_on_timeuot"),
        ("redis://host?ssl_ca_certs=s3cret", "ssl_ca_certs"),  # which rediss:// has
        ("unix:///run/redis.sock?socket_keepalive=s3cret", "socket_keepalive"),
        ("redis+sentinel://:s3cret@host/city?db=1&sentinel_pasword=s3cret", "sentinel_pasword"),
        ("redis+cluster://:s3cret@host?sentinel_password=s3cret", "sentinel_password"),
    ],
)
def test_an_option_that_no_connection_takes_is_named_without_its_value(url: str, option: str) -> None:
    with pytest.raises(ValueError, match=f"got {option}$") as refused:
        connect(url, reply_timeout_s=1, client_name="test")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host/0?max_connections=7&health_check_interval=7&username=me&db=2",
        "rediss://host?ssl_ca_certs=ca.pem&ssl_cert_reqs=none&socket_keepalive=no",
        "unix:///run/redis.sock?db=2&socket_connect_timeout=1",
        "rediss+sentinel://host/city?ssl_ca_certs=ca.pem&sentinel_username=me&max_connections=7",
        "redis+cluster://[::1]:1,host?max_connections=7",
    ],
)
def test_options_of_redis_py_are_taken(url: str) -> None:
    connect(url, reply_timeout_s=1, client_name="test").close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:12?s3cret=b@host:1",  # of a password, of which we name nothing
        "redis://:12?secret=b@host:1",
        "redis://host?s3cret=b",
        "http://:s3cret@host",
        "redis+proxy://:s3cret@host:1",
        "http+sentinel://:s3cret@host:1/city",
        "redis+sentinel://:s3cret@host:1",
        "redis+sentinel://:s3cret@host:1/",
        "redis+sentinel://:s3cret@host:1/city/first",
        "redis+sentinel://:s3cret@host:1/city/0/1",
        "redis+sentinel://:s3cret@/city",
        "redis+sentinel://:s3cret@host:many/city",
        "redis+cluster://:s3cret@one:1,,two:2",
        "redis+cluster://:s3cret@one:1/1",
        "redis+cluster://:s3cret@one:99999",
        "redis+cluster://:s3cret@one:1?socket_timeout=s3cret",
        "redis://:s3cret@host:s3cret",
    ],
)
def test_what_is_no_redis_url_is_refused_with_advice_and_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL such as") as refused:
        connect(url, reply_timeout_s=1, client_name="test")
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__
