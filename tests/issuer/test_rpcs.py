"""Every rpc of every service: who may call it, and that each call is recorded without personal data."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from issuer.access.calls import CallEntry, Calls
from issuer.access.roles import STAFF, Role
from issuer.client import IssuerClient
from issuer.server import SERVICES
from issuer.v1 import admin_pb2
from tests.issuer.access.staff import Staff
from tests.issuer.running_issuer import RunningIssuer

_APP, _CLERK, _APPROVER, _OPERATOR, _AUDITOR = Role
# As the protos say above each rpc.
ROLES: dict[str, tuple[Role, ...]] = {
    "IssuerService/IssueBundle": (_APP, _CLERK),
    "IssuerService/IssueBundles": (_APP, _CLERK),
    "IssuerService/GetKeySet": tuple(Role),
    "AdminService/EnrolHolders": (_CLERK,),
    "AdminService/GetHolder": (_CLERK, _APPROVER, _AUDITOR),
    "AdminService/ListHolders": (_CLERK, _AUDITOR),
    "AdminService/EraseHolder": (_CLERK,),
    "AdminService/IssueCredentials": (_CLERK,),
    "AdminService/ReplaceCredential": (_CLERK,),
    "AdminService/SuspendCredential": (_CLERK,),
    "AdminService/ResumeCredential": (_CLERK,),
    "AdminService/RevokeCredential": (_CLERK,),
    "AdminService/GetCredential": (_CLERK, _APPROVER, _AUDITOR),
    "AdminService/ListCredentials": (_CLERK, _AUDITOR),
    "AdminService/SetStatuses": (_CLERK,),
    "AdminService/GetStatus": (_CLERK, _APPROVER, _AUDITOR),
    "AdminService/ListStatusChanges": (_CLERK, _APPROVER, _AUDITOR),
    "AdminService/VerifyHistory": (_AUDITOR,),
    "AdminService/ListReasons": STAFF,
    "AdminService/ImportHolders": (_CLERK,),
    "AdminService/ImportCredentials": (_CLERK,),
    "AdminService/RequestStatusImport": (_CLERK,),
    "AdminService/ImportStatuses": (_CLERK,),
    "AdminService/ImportTests": (_CLERK,),
    "KeyService/ListKeys": (_OPERATOR, _AUDITOR),
    "KeyService/PrepareKey": (_OPERATOR,),
    "KeyService/ActivateKey": (_OPERATOR,),
    "KeyService/RetireKey": (_OPERATOR,),
    "KeyService/RevokeKey": (_OPERATOR,),
    "KeyService/DrillKeys": (_OPERATOR,),
    "KeyService/ExportKeySet": (_OPERATOR,),
    "KeyService/ImportKeySet": (_OPERATOR,),
    "CacheService/RebuildCache": (_OPERATOR,),
    "CacheService/CheckCache": (_OPERATOR, _AUDITOR),
    "AccessService/AddClient": (_OPERATOR,),
    "AccessService/ListClients": (_OPERATOR, _AUDITOR),
    "AccessService/RevokeClient": (_OPERATOR,),
    "AccessService/ListApprovals": STAFF,
    "AccessService/GetApproval": STAFF,
    "AccessService/Approve": (_APPROVER,),
    "AccessService/Reject": STAFF,
    "AccessService/ListCalls": (_AUDITOR,),
    "GateService/AddGroup": (_OPERATOR,),
    "GateService/SetGroupPolicy": (_OPERATOR,),
    "GateService/RemoveGroup": (_OPERATOR,),
    "GateService/ListGroups": (_OPERATOR, _AUDITOR),
    "GateService/AddGate": (_OPERATOR,),
    "GateService/AddGateCredential": (_OPERATOR,),
    "GateService/RemoveGateCredential": (_OPERATOR,),
    "GateService/MoveGate": (_OPERATOR,),
    "GateService/RemoveGate": (_OPERATOR,),
    "GateService/ListGates": (_OPERATOR, _AUDITOR),
    "ScanService/SearchScans": (_AUDITOR,),
    "ScanService/GetScanStats": (_OPERATOR, _AUDITOR),
    "ScanService/ListSuspects": (_OPERATOR, _AUDITOR),
    "ScanService/PurgeScans": (_OPERATOR,),
    "ScanService/ListPurges": (_OPERATOR, _AUDITOR),
}
METHODS = {f"{one.name}/{method.name}": method for one in SERVICES for method in one.methods}
# A name, a document and a secret at once, as any text of a request may be.
CANARY = "CANARY 王秀英"
_NOBODY = 4_000_000_000  # no id that exists


class Callers:
    """A running issuer with a client of each role."""

    def __init__(self, issuer: RunningIssuer) -> None:
        self.issuer = issuer
        staff = Staff(issuer.issuer.clients)
        for role in Role:
            staff.add(name_of(role), role)
        self._calls = Calls(database=issuer.database)
        self._clients = {role: IssuerClient(issuer.address, key=staff.keys[name_of(role)]) for role in Role}
        self._anonymous = IssuerClient(issuer.address)

    def call(self, rpc: str, role: Role | None) -> tuple[grpc.StatusCode, str]:
        """Call with a full request; return the status code and text."""
        client = self._anonymous if role is None else self._clients[role]
        stub = {
            "Issuer": client.issuer,
            "Admin": client.admin,
            "Key": client.keys,
            "Cache": client.cache,
            "Access": client.access,
            "Gate": client.gates,
            "Scan": client.scans,
        }[rpc.partition("Service")[0]]
        method, request = METHODS[rpc], filled(METHODS[rpc])
        call: Callable[..., Any] = getattr(stub, method.name)
        try:
            answer = call(iter([request]) if method.client_streaming else request)
            if isinstance(answer, Iterator):
                list(answer)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""

    def last_recorded(self) -> CallEntry | None:
        """Return the newest call in the record."""
        entries, _ = self._calls.page(client="", page_size=1, before_seq=0)
        return entries[0] if entries else None

    def close(self) -> None:
        for client in (*self._clients.values(), self._anonymous):
            client.close()


@pytest.fixture
def callers(running_issuer: RunningIssuer) -> Iterator[Callers]:
    callers = Callers(running_issuer)
    yield callers
    callers.close()


def name_of(role: Role) -> str:
    return f"the-{role.name.lower()}"


def filled(method: MethodDescriptor) -> Message:
    """Return a request with something in every field, canaries wherever text goes."""
    return _fill(GetMessageClass(method.input_type)())


def _fill(message: Message) -> Message:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            _fill(getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name))
            continue
        value = _value(field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def _value(field: Any) -> object:
    if field.enum_type is not None:
        return 1
    return {
        FieldDescriptor.CPPTYPE_STRING: CANARY.encode()
        if field.type == FieldDescriptor.TYPE_BYTES
        else CANARY,
        FieldDescriptor.CPPTYPE_BOOL: True,
    }.get(field.cpp_type, _NOBODY)


def test_no_name_or_document_of_a_holder_is_in_the_record(callers: Callers) -> None:
    admin = callers.issuer.client.admin
    holder_id = callers.issuer.enrol(name="王小秀")[0]
    new = admin_pb2.NewHolder(name="李四光", document_type="ID", document_number="110101199003070000")
    admin.EnrolHolders(admin_pb2.EnrolHoldersRequest(holders=[new]))
    assert list(admin.ImportHolders(iter([admin_pb2.ImportHoldersRequest(rows=[new])])))
    assert (
        admin.GetHolder(admin_pb2.GetHolderRequest(holder_id=holder_id, reveal=True)).holder.name == "王小秀"
    )
    sought = admin_pb2.ListHoldersRequest(
        document_type="ID", document_number="110101199003070000", reveal=True
    )
    assert admin.ListHolders(sought).holders[0].name == "李四光"
    record = repr(Calls(database=callers.issuer.database).page(client="", page_size=100, before_seq=0))
    assert "AdminService/ListHolders" in record
    for secret in ("王小秀", "李四光", "110101199003070000", "0000"):
        assert secret not in record


def is_unrecorded(rpc: str, role: Role) -> bool:
    return rpc == "IssuerService/GetKeySet" or (role is Role.APP and rpc.startswith("IssuerService/"))


def test_the_table_has_every_rpc() -> None:
    assert set(METHODS) == set(ROLES)


def test_nobody_calls_without_a_client_and_such_calls_are_not_recorded(callers: Callers) -> None:
    for rpc in METHODS:
        callers.issuer.clock_skew_s += 6  # each of them is a failed attempt
        assert callers.call(rpc, None)[0] is grpc.StatusCode.UNAUTHENTICATED, rpc
    assert callers.last_recorded() is None


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
def test_a_client_without_the_role_is_denied_and_recorded(callers: Callers, role: Role) -> None:
    for rpc, roles in ROLES.items():
        if role in roles:
            continue
        code, said = callers.call(rpc, role)
        assert code is grpc.StatusCode.PERMISSION_DENIED, rpc
        assert CANARY not in said
        recorded = callers.last_recorded()
        if is_unrecorded(rpc, role):
            assert recorded is None or recorded.method != rpc
            continue
        assert recorded is not None
        assert (recorded.client, recorded.method) == (name_of(role), rpc)
        assert recorded.outcome == "PERMISSION_DENIED"
        assert "CANARY" not in recorded.target, rpc


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
def test_a_client_with_the_role_is_let_in_and_recorded_without_anything_it_said(
    callers: Callers, role: Role
) -> None:
    for rpc, roles in ROLES.items():
        if role not in roles:
            continue
        code, said = callers.call(rpc, role)
        assert code not in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL}, (rpc, said)
        assert not said.startswith("this needs the role"), rpc
        assert "CANARY" not in said, (rpc, said)
        recorded = callers.last_recorded()
        if is_unrecorded(rpc, role):
            assert recorded is None or recorded.method != rpc
            continue
        assert recorded is not None
        assert (recorded.client, recorded.method) == (name_of(role), rpc)
        assert recorded.outcome == code.name, rpc
        assert "CANARY" not in recorded.target, rpc
