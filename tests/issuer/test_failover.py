"""An issuer whose Redis fails over: what the new master has not heard of is written again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from issuer.publisher import HEARTBEAT_S
from issuer.register.database import Database
from issuer.status_writer import StatusWriter
from loadtest.redis_sets import ClusterSet, SentinelSet
from tests.eventually import eventually
from tests.issuer.publishing import ROOT, Follower, Publishing
from tests.redis_forms import client_of
from verifier.wire.status_record import Colour, unpack
from verifier.wire.status_store import KEY_SET_KEY, RECORDS_PER_SHARD, epoch_key


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path, sentinels=1) as servers:
        yield servers


def test_a_change_that_the_new_master_never_heard_of_is_written_again(
    sqlite_database: Database, sentinels: SentinelSet
) -> None:
    publishing = Publishing(sqlite_database, sentinels.url)
    master = sentinels.master
    (replica,) = (one for one in sentinels.servers[:2] if one is not master)
    (index,) = publishing.issue()
    with publishing.running() as publisher:
        assert publisher.wait_until_published(publishing.outbox.last_seq())
        epoch = publishing.redis.get(epoch_key(0))
        follower = Follower(sentinels.url)
        eventually(lambda: replica.client().get(epoch_key(0)) == epoch)
        # What is written from here on stays with the old master: the replica cannot ask for it again.
        replica.process.freeze()
        master.ask("CLIENT", "KILL", "TYPE", "REPLICA")
        assert publisher.wait_until_published(publishing.set_colour(index, Colour.RED))
        eventually(lambda: unpack(follower.record(index)).colour is Colour.RED)
        master.process.kill()
        replica.process.thaw()
        sentinels.wait_for_another_master(master)
        eventually(lambda: _epoch(publishing) not in (None, epoch))  # written anew
        assert publishing.status.records() == publishing.truth()
        eventually(lambda: follower.status_age_s() < 1)
        assert unpack(follower.record(index)).colour is Colour.RED
        follower.close()
    publishing.close()


def test_a_heartbeat_that_was_lost_has_no_younger_id_before_it(any_redis_url: str) -> None:
    """The clock of the new master may be behind: a verifier would take it for one that was set back."""
    writer = StatusWriter(any_redis_url, root_key_id=ROOT.root_key_id, partitions=1)
    position = writer.give_epoch(writer.begin_rebuild())[0]
    with client_of(any_redis_url) as client:
        seconds, _ = client.time()
        ahead = (seconds + 60) * 1000
        writer._highest[0] = f"{ahead}-7".encode()
        assert writer.append(0, position, []).feed_id == f"{ahead}-8"
        assert writer.append(0, position, []).feed_id == f"{ahead}-9"
    writer.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSet]:
    with ClusterSet(tmp_path_factory.mktemp("own-cluster")) as servers:
        yield servers


def test_a_node_that_is_away_holds_up_its_own_partitions_alone(
    sqlite_database: Database, cluster: ClusterSet
) -> None:
    publishing = Publishing(sqlite_database, cluster.url, partitions=3)
    here, gone = 1, RECORDS_PER_SHARD * 2 + 1  # in partitions 0 and 2
    holder_here, holder_gone = publishing.issue_at(here), publishing.issue_at(gone)
    publishing.publish_all()
    epoch = publishing.redis.get(epoch_key(0))
    away = cluster.holder(epoch_key(2))
    away.process.freeze()
    publishing.set_colour(holder_gone, Colour.RED)
    publishing.clock.now += HEARTBEAT_S
    with pytest.raises(RedisError):
        publishing.publisher.turn()
    last = 0
    for colour in (Colour.RED, Colour.YELLOW):
        last = publishing.set_colour(holder_here, colour)
        with pytest.raises(RedisError):  # somebody is to hear of it
            publishing.publisher.turn()
        assert publishing.waiting() == 1  # the one that cannot be written
    fed = [index for entry in publishing.status.feed(0) for index, _ in entry.updates]
    assert fed == [here, here]
    assert not publishing.publisher.wait_until_published(last)
    away.process.thaw()
    eventually(lambda: _turns(publishing) and publishing.waiting() == 0)
    assert publishing.publisher.wait_until_published(last)
    assert publishing.status.records() == publishing.truth()
    assert publishing.redis.get(epoch_key(0)) == epoch
    publishing.close()


def test_a_partition_is_rebuilt_while_the_node_of_another_is_away(
    sqlite_database: Database, cluster: ClusterSet
) -> None:
    publishing = Publishing(sqlite_database, cluster.url, partitions=3)
    holder_here, _ = publishing.issue_at(1), publishing.issue_at(RECORDS_PER_SHARD * 2 + 1)
    publishing.publish_all()
    away = cluster.holder(epoch_key(2))
    assert away not in (cluster.holder(epoch_key(0)), cluster.holder(KEY_SET_KEY))
    lost, kept = (publishing.redis.get(epoch_key(partition)) for partition in (0, 2))
    away.process.freeze()
    publishing.redis.delete(epoch_key(0))
    publishing.set_colour(holder_here, Colour.RED)
    signed = publishing.sign_key_set()
    eventually(lambda: _turns(publishing) or publishing.redis.get(epoch_key(0)) is not None)
    assert publishing.redis.get(epoch_key(0)) != lost
    assert publishing.redis.get(KEY_SET_KEY) == signed
    away.process.thaw()
    eventually(lambda: _turns(publishing) and publishing.waiting() == 0)
    assert publishing.status.records() == publishing.truth()
    assert publishing.redis.get(epoch_key(2)) == kept
    publishing.close()


def _epoch(publishing: Publishing) -> object:
    with contextlib.suppress(RedisError):
        return publishing.redis.get(epoch_key(0))
    return None


def _turns(publishing: Publishing) -> bool:
    publishing.clock.now += HEARTBEAT_S
    try:
        publishing.publisher.turn()
    except RedisError:
        return False
    return True
