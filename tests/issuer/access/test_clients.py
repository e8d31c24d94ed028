import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, event, text

from issuer.access.bearer import hash_key, make_key
from issuer.access.clients import Clients, NewClient, decode_roles, encode_roles
from issuer.access.roles import Role
from issuer.errors import FailedPrecondition, NotFound, RegisterUnavailable
from issuer.register.database import Database
from tests.issuer.access.staff import Staff

CLERK = frozenset({Role.CLERK})


@contextlib.contextmanager
def on_each_statement(notice: Callable[[str], None]) -> Iterator[None]:
    """Call `notice` after each SQL statement, in the thread that it ran in."""

    def after(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        notice(statement)

    event.listen(Engine, "after_cursor_execute", after)
    yield
    event.remove(Engine, "after_cursor_execute", after)


def test_a_client_is_found_by_the_hash_of_its_key_with_its_roles(clients: Clients, staff: Staff) -> None:
    caller = staff.add("li.wei", Role.CLERK, Role.AUDITOR)
    assert clients.find_by_bearer_key(hash_key(staff.keys["li.wei"])) == caller


def test_a_client_is_found_by_its_certificate_and_not_by_a_key_of_the_same_hash(clients: Clients) -> None:
    clients.add(NewClient("gate", CLERK, certificate_sha256=b"c" * 32), now=1)
    found = clients.find_by_certificate(b"c" * 32)
    assert found is not None
    assert found.name == "gate"
    assert Clients(database=clients._database).find_by_bearer_key(b"c" * 32) is None


def test_the_same_hash_as_key_and_as_certificate_are_two_clients_also_in_memory(clients: Clients) -> None:
    clients.add(NewClient("by-key", CLERK, bearer_key_sha256=b"x" * 32), now=1)
    clients.add(NewClient("by-certificate", CLERK, certificate_sha256=b"x" * 32), now=1)
    names = [
        found.name
        for _ in range(2)
        for found in (clients.find_by_bearer_key(b"x" * 32), clients.find_by_certificate(b"x" * 32))
        if found
    ]
    assert names == ["by-key", "by-certificate"] * 2


def test_an_unknown_hash_finds_nobody(clients: Clients, staff: Staff) -> None:
    staff.add("li.wei", Role.CLERK)
    assert clients.find_by_bearer_key(hash_key(make_key())) is None
    assert clients.find_by_certificate(hash_key(staff.keys["li.wei"])) is None


def test_a_known_client_costs_no_sql(clients: Clients, staff: Staff) -> None:
    staff.add("app", Role.APP)
    key = hash_key(staff.keys["app"])
    clients.find_by_bearer_key(key)
    statements: list[str] = []
    with on_each_statement(statements.append):
        assert clients.find_by_bearer_key(key) is not None
        assert statements == []
        clients.find_by_bearer_key(hash_key(make_key()))
    assert statements


def test_a_revoked_client_is_not_found_any_more_though_it_was_known(clients: Clients, staff: Staff) -> None:
    staff.add("li.wei", Role.CLERK)
    key = hash_key(staff.keys["li.wei"])
    assert clients.find_by_bearer_key(key) is not None
    clients.revoke("li.wei", now=5)
    assert clients.find_by_bearer_key(key) is None
    assert [client.revoked_at for client in clients.list()] == [5]


def test_one_who_is_revoked_while_being_looked_up_is_not_kept_in_memory(
    clients: Clients, staff: Staff
) -> None:
    staff.add("li.wei", Role.CLERK)
    key = hash_key(staff.keys["li.wei"])
    has_read, may_go_on = threading.Event(), threading.Event()

    def hold_up(statement: str) -> None:
        if threading.current_thread() is late and "bearer_key_sha256" in statement:
            has_read.set()
            may_go_on.wait(10)

    late = threading.Thread(target=clients.find_by_bearer_key, args=(key,))
    with on_each_statement(hold_up):
        late.start()
        assert has_read.wait(10)
        clients.revoke("li.wei", now=5)
        may_go_on.set()
        late.join(10)
    assert clients.find_by_bearer_key(key) is None


def test_one_who_calls_while_being_revoked_is_known_until_the_commit_and_not_after(
    clients: Clients, staff: Staff, database: Database
) -> None:
    staff.add("li.wei", Role.CLERK)
    key = hash_key(staff.keys["li.wei"])
    with database.write() as connection:
        clients.revoke_in(connection, "li.wei", now=5)
        assert clients.find_by_bearer_key(key) is not None
    assert clients.find_by_bearer_key(key) is None


def test_one_whose_revocation_is_made_though_its_answer_is_lost_is_not_found_any_more(
    clients: Clients, staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff.add("li.wei", Role.CLERK)
    key = hash_key(staff.keys["li.wei"])
    assert clients.find_by_bearer_key(key) is not None
    write = clients._database.write

    @contextlib.contextmanager
    def write_and_lose_the_answer() -> Iterator[Connection]:
        with write() as connection:
            yield connection
        raise RegisterUnavailable("the connection broke")

    monkeypatch.setattr(clients._database, "write", write_and_lose_the_answer)
    with pytest.raises(RegisterUnavailable):
        clients.revoke("li.wei", now=5)
    assert clients.find_by_bearer_key(key) is None


def test_memory_of_clients_is_bounded(
    clients: Clients, staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.access.clients._MAX_KNOWN", 2)
    for name in "abc":
        staff.add(name, Role.CLERK)
        assert clients.find_by_bearer_key(hash_key(staff.keys[name])) is not None
    assert len(clients._known) == 2
    assert clients.find_by_bearer_key(hash_key(staff.keys["a"])) is not None


def test_a_name_is_never_used_again_also_not_of_a_revoked_client(clients: Clients, staff: Staff) -> None:
    staff.add("li.wei", Role.CLERK)
    clients.revoke("li.wei", now=5)
    with pytest.raises(FailedPrecondition, match=r"there is or was a client li\.wei"):
        staff.add("li.wei", Role.CLERK)


@pytest.mark.parametrize("known_by", ["bearer_key_sha256", "certificate_sha256"])
def test_a_key_or_certificate_is_never_used_again(clients: Clients, known_by: str) -> None:
    clients.add(NewClient("first", CLERK, **{known_by: b"k" * 32}), now=1)
    clients.revoke("first", now=2)
    with pytest.raises(FailedPrecondition, match="make a new one"):
        clients.add(NewClient("second", CLERK, **{known_by: b"k" * 32}), now=3)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.APPROVER])
def test_the_last_operator_or_approver_cannot_be_revoked(clients: Clients, staff: Staff, role: Role) -> None:
    staff.add("first", role)
    staff.add("second", role, Role.CLERK)
    clients.revoke("first", now=5)
    with pytest.raises(FailedPrecondition, match=f"the last {role.name.lower()}"):
        clients.revoke("second", now=6)
    staff.add("third", role)
    clients.revoke("second", now=7)


def test_the_last_of_any_other_role_can_be_revoked(clients: Clients, staff: Staff) -> None:
    for role in (Role.APP, Role.CLERK, Role.AUDITOR):
        staff.add(role.name, role)
        clients.revoke(role.name, now=5)


def test_nobody_is_revoked_twice(clients: Clients, staff: Staff) -> None:
    staff.add("li.wei", Role.CLERK)
    clients.revoke("li.wei", now=5)
    with pytest.raises(FailedPrecondition, match=r"client li\.wei is revoked"):
        clients.revoke("li.wei", now=6)


@pytest.mark.parametrize("name", ["nobody", "王秀英 110101199003070000"])
def test_one_who_never_was_is_not_found_and_only_a_sound_name_is_quoted(clients: Clients, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        clients.revoke(name, now=5)
    assert (name in str(caught.value)) is (name == "nobody")


def test_the_list_is_by_name_and_has_the_revoked(clients: Clients, staff: Staff) -> None:
    staff.add("b", Role.OPERATOR)
    staff.add("a", Role.CLERK)
    clients.add(NewClient("c", CLERK, certificate_sha256=b"c" * 32), now=9)
    clients.revoke("a", now=7)
    shown = [(one.name, one.added_at, one.revoked_at, one.has_certificate) for one in clients.list()]
    assert shown == [("a", 1, 7, False), ("b", 1, 0, False), ("c", 9, 0, True)]


def test_roles_are_stored_by_name_sorted() -> None:
    roles = frozenset({Role.OPERATOR, Role.AUDITOR, Role.CLERK})
    assert encode_roles(roles) == "AUDITOR,CLERK,OPERATOR"
    assert decode_roles(encode_roles(roles)) == roles


def test_only_hashes_of_keys_are_in_the_register(staff: Staff, database: Database) -> None:
    staff.add("li.wei", Role.CLERK)
    with database.read() as connection:
        rows = connection.execute(text("SELECT * FROM clients")).all()
    assert staff.keys["li.wei"] not in repr(rows)
