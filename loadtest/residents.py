"""Residents who do not exist: a CSV of them, and their way onto the register."""

import csv
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from issuer.client import IssuerClient
from issuer.v1 import access_pb2
from issuer.v1 import admin_pb2 as pb
from loadtest.specimens import Enrolled
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

COLUMNS = ("name", "document_type", "document_number", "region", "colour")
# A code of the issuer's list; every yellow and red has to say why.
REASON_CLOSE_CONTACT = 12
_BATCH = 500
_FAMILY_NAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗"
_GIVEN_NAMES = "伟芳娜秀敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂英华玉建国文辉"
_REGIONS = ("north", "east", "south", "west", "harbour")
_COLOURS = (Colour.GREEN, Colour.YELLOW, Colour.RED)
_WEIGHTS = (96, 3, 1)
_VERDICTS = {
    Colour.NONE: Verdict.NO_STATUS,
    Colour.GREEN: Verdict.GREEN,
    Colour.YELLOW: Verdict.YELLOW,
    Colour.RED: Verdict.RED,
}


@dataclass(frozen=True, slots=True)
class Resident:
    """One line of the CSV."""

    name: str
    document_type: str
    document_number: str
    region: str
    colour: Colour


def write_residents(path: Path, count: int, rng: random.Random) -> None:
    """Write a CSV of `count` residents."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(count):
            name = rng.choice(_FAMILY_NAMES) + "".join(rng.sample(_GIVEN_NAMES, rng.choice((1, 2, 2))))
            colour = rng.choices(_COLOURS, _WEIGHTS)[0]
            writer.writerow((name, "ID", f"11010519{number:010}", rng.choice(_REGIONS), colour.name))


def read_residents(path: Path) -> list[Resident]:
    """Return the residents in a CSV that write_residents made."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Resident(**{**row, "colour": Colour[row["colour"]]})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        ]


@dataclass(frozen=True, slots=True)
class Staff:
    """Two persons of the issuer: one who changes things, and one who agrees to what needs a second person."""

    clerk: IssuerClient
    approver: IssuerClient


def enrol(staff: Staff, residents: Sequence[Resident], advance: Callable[[int], object]) -> list[Enrolled]:
    """Enter residents, give each a PHONE credential and a colour; call `advance` with how many were done.

    Those with Colour.NONE are left without a status. Raises grpc.RpcError.
    """
    enrolled: list[Enrolled] = []
    for start in range(0, len(residents), _BATCH):
        batch = residents[start : start + _BATCH]
        enrolled += _enrol_batch(staff, batch)
        advance(len(batch))
    return enrolled


def ask_for_colour(clerk: IssuerClient, holder_id: int, colour: Colour) -> pb.SetStatusesResponse:
    """Set one holder's colour, or ask a second person to; raises grpc.RpcError."""
    request = pb.SetStatusesRequest(changes=[_change(holder_id, colour)])
    response: pb.SetStatusesResponse = clerk.admin.SetStatuses(request)
    return response


def set_colour(staff: Staff, holder_id: int, colour: Colour) -> None:
    """Set one holder's colour, with the second person's consent where it is needed; raises grpc.RpcError."""
    if approval_id := ask_for_colour(staff.clerk, holder_id, colour).approval_id:
        approve(staff.approver, approval_id)


def approve(approver: IssuerClient, approval_id: int) -> None:
    """Approve a request, and see it carried out; raises grpc.RpcError or RuntimeError."""
    approval = approver.access.Approve(access_pb2.ApproveRequest(approval_id=approval_id)).approval
    if approval.state != access_pb2.APPROVAL_STATE_APPROVED:
        raise RuntimeError(f"approval {approval_id} was not carried out: {' '.join(approval.outcome)}")


def _enrol_batch(staff: Staff, batch: Sequence[Resident]) -> list[Enrolled]:
    admin = staff.clerk.admin
    new_holders = [
        pb.NewHolder(
            name=resident.name,
            document_type=resident.document_type,
            document_number=resident.document_number,
            region=resident.region,
        )
        for resident in batch
    ]
    holder_ids = admin.EnrolHolders(pb.EnrolHoldersRequest(holders=new_holders)).holder_ids
    new_credentials = [
        pb.NewCredential(holder_id=holder_id, kind=int(CredentialKind.PHONE))  # type: ignore[arg-type]
        for holder_id in holder_ids
    ]
    issued = admin.IssueCredentials(pb.IssueCredentialsRequest(credentials=new_credentials))
    changes = [
        _change(holder_id, resident.colour)
        for holder_id, resident in zip(holder_ids, batch, strict=True)
        if resident.colour is not Colour.NONE
    ]
    if changes:
        # So many colours at once, and reds among them, are for two persons to decide.
        answer = admin.SetStatuses(pb.SetStatusesRequest(changes=changes))
        if answer.approval_id:
            approve(staff.approver, answer.approval_id)
    return [
        Enrolled(index, 1, CredentialKind.PHONE, _VERDICTS[resident.colour])
        for index, resident in zip(issued.credential_indices, batch, strict=True)
    ]


def _change(holder_id: int, colour: Colour) -> pb.StatusChange:
    return pb.StatusChange(
        holder_id=holder_id,
        colour=int(colour),  # type: ignore[arg-type]
        reason=0 if colour is Colour.GREEN else REASON_CLOSE_CONTACT,
        authority="city health office",
    )
