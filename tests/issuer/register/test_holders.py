"""Holders on a real register, SQLite and PostgreSQL."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from issuer.documents import DocumentHasher
from issuer.errors import FailedPrecondition, NotFound
from issuer.register.credentials import Credentials
from issuer.register.database import Database
from issuer.register.entries import CredentialStanding, HolderEntry, NewCredential, NewHolder
from issuer.register.holders import Holders
from issuer.register.import_rows import RowRefused
from issuer.register.outbox import FeedPosition, Outbox
from issuer.register.schema import holder_status
from issuer.register.schema import holders as holders_table
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import CredentialState, unpack

NOW = 1_800_000_000
NOBODY = 999
OLD_KEY, NEW_KEY = b"the document key of the tests: 1", b"the document key of the tests: 2"
DOCUMENTS = DocumentHasher(OLD_KEY)


@pytest.fixture
def holders(database: Database) -> Holders:
    """The holders of a new register."""
    return Holders(database=database, documents=DOCUMENTS)


@pytest.fixture
def credentials(database: Database) -> Credentials:
    """Its credentials."""
    return Credentials(database=database)


def new(number: int, **changed: Any) -> NewHolder:
    fields = {"name": "王小秀", "document_type": "ID", "document_number": f"E{number}", "region": "朝阳"}
    return NewHolder(**{**fields, **changed})


def row(number: int, **changed: Any) -> NewHolder:
    """Return a row of an import."""
    return new(number, **{"external_id": f"person-{number}", **changed})


def enrol_one(holders: Holders, number: int = 1, **changed: Any) -> int:
    return holders.enrol([new(number, **changed)], now=NOW)[0]


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(holders_table)) or 0


def refused_of(holders: Holders, rows: Sequence[NewHolder | RowRefused]) -> Sequence[tuple[int, str]]:
    return holders.enter_rows(rows, now=NOW).refused


# Enrolment


def test_holders_get_ids_in_the_order_given(holders: Holders) -> None:
    assert list(holders.enrol([new(number) for number in range(1_000)], now=NOW)) == list(range(1, 1_001))


def test_a_holder_is_kept_as_given(holders: Holders) -> None:
    name = "e\u0301lise  王小秀 '\"; DROP TABLE holders"
    holder_id = enrol_one(holders, name=name, document_number="AB-12 3456", external_id="person-1")
    assert holders.holder(holder_id=holder_id) == HolderEntry(
        holder_id=holder_id,
        name=name,
        document_type="ID",
        document_last_four="3456",
        region="朝阳",
        guardian_id=None,
        external_id="person-1",
        enrolled_at=NOW,
        erased_at=0,
    )


def test_a_document_number_is_not_in_the_file(sqlite_url: str, tmp_path: Path) -> None:
    database = Database.open(sqlite_url)
    Holders(database=database, documents=DOCUMENTS).enrol([new(1, document_number="CANARY110101")], now=NOW)
    database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("register.db*"))
    assert "王小秀".encode() in stored
    assert b"CANARY" not in stored


def test_a_document_that_is_known_is_refused_and_its_holder_named(holders: Holders) -> None:
    enrol_one(holders, 7)
    with pytest.raises(
        FailedPrecondition,
        match=r"^holders\[1\].document_number: this document belongs to holder 1 already$",
    ):
        holders.enrol([new(8), new(7)], now=NOW)


def test_a_document_twice_in_one_list_is_refused(holders: Holders) -> None:
    with pytest.raises(FailedPrecondition, match=r"^holders\[2\].document_number: .*holders\[0\] already$"):
        holders.enrol([new(1), new(2), new(1)], now=NOW)


def test_the_same_number_on_another_type_of_document_is_another_document(holders: Holders) -> None:
    holders.enrol([new(1), new(1, document_type="PASSPORT")], now=NOW)


def test_a_document_is_known_under_an_older_key(holders: Holders, database: Database) -> None:
    enrol_one(holders)
    with pytest.raises(FailedPrecondition, match="holder 1 already"):
        Holders(database=database, documents=DocumentHasher(NEW_KEY, OLD_KEY)).enrol([new(1)], now=NOW)


def test_a_holder_is_marked_with_the_newest_key(holders: Holders, database: Database) -> None:
    Holders(database=database, documents=DocumentHasher(NEW_KEY, OLD_KEY)).enrol([new(1)], now=NOW)
    enrol_one(holders, 2)
    with database.read() as connection:
        key_ids = connection.scalars(
            select(holders_table.c.document_key_id).order_by(holders_table.c.id)
        ).all()
    assert key_ids == [DocumentHasher(NEW_KEY).key_id, DocumentHasher(OLD_KEY).key_id]


def test_an_external_id_belongs_to_one_holder(holders: Holders) -> None:
    enrol_one(holders, 1, external_id="person-1")
    with pytest.raises(FailedPrecondition, match=r"^holders\[0\].external_id: holder 1 has it already$"):
        enrol_one(holders, 2, external_id="person-1")
    with pytest.raises(FailedPrecondition, match=r"^holders\[1\].external_id: an earlier entry has it"):
        holders.enrol([new(3, external_id="person-3"), new(4, external_id="person-3")], now=NOW)


def test_a_list_of_holders_is_entered_whole_or_not_at_all(holders: Holders, database: Database) -> None:
    with pytest.raises(FailedPrecondition):
        holders.enrol([new(1), new(1)], now=NOW)
    assert count(database) == 0


# Guardians


def test_a_holder_may_have_a_guardian(holders: Holders) -> None:
    guardian = enrol_one(holders, 1)
    children = holders.enrol([new(2, guardian_id=guardian), new(3, guardian_id=guardian)], now=NOW)
    assert holders.holder(holder_id=children[0]).guardian_id == guardian
    assert holders.dependants(guardian) == list(children)
    assert holders.dependants(children[0]) == []


def test_a_guardian_has_to_exist(holders: Holders) -> None:
    with pytest.raises(NotFound, match=r"^holders\[0\].guardian_id: there is no holder 999$"):
        enrol_one(holders, guardian_id=NOBODY)


def test_a_dependant_is_nobodys_guardian(holders: Holders) -> None:
    child = enrol_one(holders, 2, guardian_id=enrol_one(holders, 1))
    with pytest.raises(FailedPrecondition, match=f"^holders.0..guardian_id: holder {child} is a dependant$"):
        enrol_one(holders, 3, guardian_id=child)


def test_one_who_was_erased_is_nobodys_guardian(holders: Holders) -> None:
    guardian = enrol_one(holders, 1)
    holders.erase(guardian, now=NOW)
    with pytest.raises(FailedPrecondition, match=f"guardian_id: holder {guardian} was erased$"):
        enrol_one(holders, 2, guardian_id=guardian)


# Imports


def test_good_rows_go_in_and_bad_ones_are_told_of(holders: Holders, database: Database) -> None:
    enrol_one(holders, 1)
    entered = holders.enter_rows(
        [row(2), RowRefused("name: expected at most 200 characters, got 201"), row(1), row(3)], now=NOW
    )
    assert list(entered.ids) == [2, 0, 0, 3]
    assert entered.known == 0
    assert entered.refused == [
        (1, "name: expected at most 200 characters, got 201"),
        (2, "document_number: this document belongs to holder 1 already"),
    ]
    assert entered.outbox_seq == 0
    assert count(database) == 3


def test_a_row_that_is_known_keeps_its_id_and_changes_nothing(holders: Holders, database: Database) -> None:
    first = holders.enter_rows([row(1), row(2)], now=NOW)
    again = holders.enter_rows([row(2, name="Another Name"), row(1), row(3)], now=NOW + 1)
    assert list(again.ids) == [first.ids[1], first.ids[0], 3]
    assert (again.known, again.refused) == (2, [])
    assert holders.holder(holder_id=first.ids[1]).name == "王小秀"
    assert count(database) == 3


def test_a_row_is_known_under_an_older_key(holders: Holders, database: Database) -> None:
    holders.enter_rows([row(1)], now=NOW)
    rotated = Holders(database=database, documents=DocumentHasher(NEW_KEY, OLD_KEY))
    assert rotated.enter_rows([row(1)], now=NOW).known == 1


def test_a_known_external_id_with_another_document_is_refused(holders: Holders) -> None:
    holders.enter_rows([row(1)], now=NOW)
    changed = row(1, document_number="E99")
    assert refused_of(holders, [changed]) == [(0, "external_id: holder 1 has it, with another document")]


def test_a_row_that_is_twice_in_a_batch_is_entered_once(holders: Holders, database: Database) -> None:
    entered = holders.enter_rows([row(1), row(1)], now=NOW)
    assert (list(entered.ids), entered.known, entered.refused) == ([1, 1], 1, [])
    assert count(database) == 1


def test_an_external_id_twice_in_a_batch_with_two_documents_is_refused(holders: Holders) -> None:
    rows = [row(1), row(2, external_id="person-1")]
    assert refused_of(holders, rows) == [(1, "external_id: an earlier row has it, with another document")]


def test_a_document_twice_in_a_batch_is_refused(holders: Holders) -> None:
    rows = [row(1), row(1, external_id="person-2")]
    assert refused_of(holders, rows) == [
        (1, "document_number: this document belongs to an earlier row already")
    ]


def test_an_import_refuses_the_row_of_one_who_was_erased(holders: Holders, database: Database) -> None:
    holders.enter_rows([row(1)], now=NOW)
    holders.erase(1, now=NOW)
    assert refused_of(holders, [row(1)]) == [(0, "external_id: it belongs to holder 1, who was erased")]
    assert count(database) == 1


def test_a_guardian_may_stand_earlier_in_the_batch(holders: Holders) -> None:
    rows = [row(1), row(2, guardian_external_id="person-1"), row(3, guardian_external_id="person-1")]
    assert holders.enter_rows(rows, now=NOW).refused == []
    assert holders.dependants(1) == [2, 3]


def test_a_guardian_may_be_on_the_register_already(holders: Holders) -> None:
    holders.enter_rows([row(1)], now=NOW)
    holders.enter_rows([row(2, guardian_external_id="person-1"), row(3, guardian_id=1)], now=NOW)
    assert holders.dependants(1) == [2, 3]


def test_a_guardian_later_in_the_batch_is_too_late(holders: Holders) -> None:
    rows = [row(2, guardian_external_id="person-1"), row(1)]
    reason = "guardian_external_id: no holder on the register or in an earlier row has it"
    assert refused_of(holders, rows) == [(0, reason)]


def test_a_refused_row_is_nobodys_guardian(holders: Holders) -> None:
    enrol_one(holders, 1)
    positions = [
        position for position, _ in refused_of(holders, [row(1), row(2, guardian_external_id="person-1")])
    ]
    assert positions == [0, 1]


def test_a_dependant_in_the_batch_is_nobodys_guardian(holders: Holders) -> None:
    rows = [row(1), row(2, guardian_external_id="person-1"), row(3, guardian_external_id="person-2")]
    assert refused_of(holders, rows) == [(2, "guardian_external_id: that holder is a dependant")]


def test_a_dependant_of_an_earlier_batch_is_nobodys_guardian(holders: Holders) -> None:
    holders.enter_rows([row(1), row(2, guardian_external_id="person-1")], now=NOW)
    rows = [row(3, guardian_external_id="person-2")]
    assert refused_of(holders, rows) == [(0, "guardian_external_id: holder 2 is a dependant")]


def test_a_batch_of_refused_rows_enters_nothing(holders: Holders) -> None:
    entered = holders.enter_rows([RowRefused("name: expected it")], now=NOW)
    assert (list(entered.ids), entered.refused) == ([0], [(0, "name: expected it")])


def test_an_id_is_never_given_twice(holders: Holders, database: Database) -> None:
    holders.enter_rows([row(1), row(2)], now=NOW)
    with database.write() as connection:
        connection.execute(holders_table.delete().where(holders_table.c.id == 2))
    assert list(holders.enter_rows([row(3)], now=NOW).ids) == [3]
    assert enrol_one(holders, 4) == 4


def test_rows_that_others_insert_are_not_run_over(holders: Holders, database: Database) -> None:
    enrol_one(holders, 1)
    values = {
        "name": "",
        "document_type": "",
        "document_last_four": "",
        "region": "",
        "enrolled_at": NOW,
    }
    with database.write() as connection:
        connection.execute(insert(holders_table).values(values))
    assert enrol_one(holders, 2) == 3


# Reading


def test_a_holder_is_found_by_either_id(holders: Holders) -> None:
    holder_id = enrol_one(holders, external_id="person-1")
    assert holders.holder(holder_id=holder_id) == holders.holder(external_id="person-1")


def test_a_holder_who_is_not_there_is_not_found(holders: Holders) -> None:
    with pytest.raises(NotFound, match=r"^there is no holder 999$"):
        holders.holder(holder_id=NOBODY)
    with pytest.raises(NotFound, match=r"^there is no holder with this external_id$"):
        holders.holder(external_id="person-1")


@pytest.mark.parametrize(("limit", "pages"), [(1, [[1], [2], [3]]), (2, [[1, 2], [3]]), (3, [[1, 2, 3]])])
def test_pages_follow_one_another(holders: Holders, limit: int, pages: list[list[int]]) -> None:
    holders.enrol([new(number) for number in range(3)], now=NOW)
    found, after_id, has_more = [], 0, True
    while has_more:
        page = holders.page(limit=limit, after_id=after_id)
        found.append([entry.holder_id for entry in page.entries])
        after_id, has_more = found[-1][-1], page.has_more
    assert found == pages


def test_a_page_has_those_to_whom_everything_given_applies(holders: Holders) -> None:
    guardian = enrol_one(holders, 1)
    enrol_one(holders, 2, guardian_id=guardian)
    enrol_one(holders, 3, guardian_id=guardian, region="海淀")
    enrol_one(holders, 4, region="海淀")

    def ids(**filters: Any) -> list[int]:
        return [entry.holder_id for entry in holders.page(limit=10, **filters).entries]

    assert ids() == [1, 2, 3, 4]
    assert ids(region="海淀") == [3, 4]
    assert ids(guardian_id=guardian) == [2, 3]
    assert ids(guardian_id=guardian, region="海淀") == [3]
    assert ids(document=("id", "e 4")) == [4]
    assert ids(document=("ID", "E4"), region="朝阳") == []
    assert ids(document=("ID", "E5")) == []


def test_a_document_is_found_under_every_key(holders: Holders, database: Database) -> None:
    enrol_one(holders, 1)
    rotated = Holders(database=database, documents=DocumentHasher(NEW_KEY, OLD_KEY))
    rotated.enrol([new(2)], now=NOW)
    for number in (1, 2):
        page = rotated.page(limit=10, document=("ID", f"E{number}"))
        assert [entry.holder_id for entry in page.entries] == [number]


# Erasing


def test_an_erased_holder_is_an_empty_entry(holders: Holders) -> None:
    guardian = enrol_one(holders, 1)
    holder_id = enrol_one(holders, 2, external_id="person-2", guardian_id=guardian)
    holders.erase(holder_id, now=NOW + 5)
    assert holders.holder(holder_id=holder_id) == HolderEntry(
        holder_id=holder_id,
        name="",
        document_type="",
        document_last_four="",
        region="",
        guardian_id=None,
        external_id="person-2",
        enrolled_at=NOW,
        erased_at=NOW + 5,
    )
    assert holders.dependants(guardian) == []


def test_the_dependants_of_an_erased_holder_have_no_guardian(holders: Holders) -> None:
    guardian = enrol_one(holders, 1)
    child = enrol_one(holders, 2, guardian_id=guardian)
    holders.erase(guardian, now=NOW)
    assert holders.holder(holder_id=child).guardian_id is None


def test_the_credentials_of_an_erased_holder_are_revoked_and_published(
    holders: Holders, credentials: Credentials, outbox: Outbox
) -> None:
    mine, other = holders.enrol([new(1), new(2)], now=NOW)
    kinds = [CredentialKind.PHONE, CredentialKind.PAPER, CredentialKind.PAPER]
    active, suspended, revoked = credentials.issue(
        [NewCredential(mine, kind) for kind in kinds], now=NOW
    ).credential_indices
    (foreign,) = credentials.issue([NewCredential(other, CredentialKind.PHONE)], now=NOW).credential_indices
    credentials.suspend(suspended)
    credentials.revoke(revoked)
    outbox.settle(outbox.last_seq(), {0: FeedPosition("e", "1-1")})
    erased = holders.erase(mine, now=NOW)
    assert erased.revoked_credentials == 2
    batch = outbox.next_batch(10)
    assert batch.last_seq == erased.outbox_seq
    assert {index: unpack(record).state for index, record in batch.updates} == {
        active: CredentialState.REVOKED,
        suspended: CredentialState.REVOKED,
    }
    assert {entry.state for entry in credentials.of_holder(mine)} == {CredentialStanding.REVOKED}
    assert credentials.entry(foreign).state is CredentialStanding.ACTIVE


def test_the_status_of_an_erased_holder_stays(holders: Holders, database: Database) -> None:
    holder_id = enrol_one(holders)
    values = {"holder_id": holder_id, "colour": 3, "reason": 12, "last_negative_test_min": 0}
    with database.write() as connection:
        connection.execute(insert(holder_status).values(values))
    holders.erase(holder_id, now=NOW)
    with database.read() as connection:
        assert connection.scalar(select(holder_status.c.colour)) == 3


@pytest.fixture
def in_file(sqlite_url: str) -> Iterator[Holders]:
    """The holders of a register in a file, which stays open while the file is read."""
    database = Database.open(sqlite_url)
    holders = Holders(database=database, documents=DOCUMENTS)
    holders.enrol([new(number, name=f"NEIGHBOUR{number}") for number in range(2, 50)], now=NOW)
    yield holders
    database.close()


def stored(folder: Path) -> bytes:
    """Return what lies in the file of a register and in its log."""
    return b"".join((folder / name).read_bytes() for name in ("register.db", "register.db-wal"))


def test_nothing_of_an_erased_holder_is_left_in_the_file_and_its_log(
    in_file: Holders, tmp_path: Path
) -> None:
    holder_id = enrol_one(in_file, 1, name="CANARYNAME", region="CANARYREGION")
    assert b"CANARYNAME" in stored(tmp_path)
    in_file.erase(holder_id, now=NOW)
    assert b"NEIGHBOUR49" in stored(tmp_path)
    assert b"CANARY" not in stored(tmp_path)
    assert DOCUMENTS.mark("ID", "E1").keyed_hash not in stored(tmp_path)


def test_nothing_of_dependants_is_left_where_their_guardian_was_erased_before_them(
    in_file: Holders, tmp_path: Path
) -> None:
    guardian = enrol_one(in_file, 1)
    children = [new(number, name=f"CANARY{number}", guardian_id=guardian) for number in range(100, 160)]
    child_ids = in_file.enrol(children, now=NOW)
    in_file.erase(guardian, now=NOW)
    for holder_id in child_ids:
        in_file.erase(holder_id, now=NOW)
    assert b"CANARY" not in stored(tmp_path)


def test_what_a_reader_kept_in_the_log_goes_with_the_next_erasure(
    in_file: Holders, sqlite_url: str, tmp_path: Path
) -> None:
    first, second = enrol_one(in_file, 100, name="CANARYNAME"), enrol_one(in_file, 101)
    reader = Database.open(sqlite_url)
    with reader.read() as connection:
        connection.execute(select(holders_table)).all()
        in_file.erase(first, now=NOW)  # it does not wait for the reader to finish
        assert in_file.holder(holder_id=first).name == ""
        assert b"CANARYNAME" in stored(tmp_path)
    reader.close()
    in_file.erase(second, now=NOW)
    assert b"CANARYNAME" not in stored(tmp_path)


def test_the_document_of_an_erased_holder_is_free_again(holders: Holders) -> None:
    holders.erase(enrol_one(holders, 1), now=NOW)
    assert enrol_one(holders, 1) == 2


def test_a_holder_is_erased_once(holders: Holders) -> None:
    holder_id = enrol_one(holders)
    holders.erase(holder_id, now=NOW)
    with pytest.raises(FailedPrecondition, match=f"^holder {holder_id} was erased already$"):
        holders.erase(holder_id, now=NOW)


def test_nobody_cannot_be_erased(holders: Holders) -> None:
    with pytest.raises(NotFound, match=r"^there is no holder 999$"):
        holders.erase(NOBODY, now=NOW)
