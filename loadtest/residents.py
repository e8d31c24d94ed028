"""Residents who do not exist: a CSV of them, and their way onto the register."""

import csv
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from issuer.v1 import issuer_pb2 as pb
from issuer.v1 import issuer_pb2_grpc as pb_grpc
from loadtest.corpus import Enrolled
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

COLUMNS = ("name", "document_type", "document_number", "region", "colour")
# A code of the issuer's list; every yellow and red has to say why.
REASON_CLOSE_CONTACT = 12
_BATCH = 500
_TIMEOUT_S = 30
_FAMILY_NAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗"
_GIVEN_NAMES = "伟芳娜秀敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂英华玉建国文辉"
_REGIONS = ("north", "east", "south", "west", "harbour")
_COLOURS = (Colour.GREEN, Colour.YELLOW, Colour.RED)
_WEIGHTS = (96, 3, 1)
_VERDICTS = {Colour.GREEN: Verdict.GREEN, Colour.YELLOW: Verdict.YELLOW, Colour.RED: Verdict.RED}


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


def enrol(
    admin: pb_grpc.AdminServiceStub, residents: Sequence[Resident], advance: Callable[[int], object]
) -> list[Enrolled]:
    """Enter residents, give each a PHONE credential and a colour; call `advance` with how many were done.

    Raises grpc.RpcError.
    """
    enrolled: list[Enrolled] = []
    for start in range(0, len(residents), _BATCH):
        batch = residents[start : start + _BATCH]
        enrolled += _enrol_batch(admin, batch)
        advance(len(batch))
    return enrolled


def set_colour(admin: pb_grpc.AdminServiceStub, holder_id: int, colour: Colour) -> pb.SetStatusesResponse:
    """Set one holder's colour; raises grpc.RpcError."""
    request = pb.SetStatusesRequest(changes=[_change(holder_id, colour)])
    response: pb.SetStatusesResponse = admin.SetStatuses(request, timeout=_TIMEOUT_S)
    return response


def _enrol_batch(admin: pb_grpc.AdminServiceStub, batch: Sequence[Resident]) -> list[Enrolled]:
    new_holders = [
        pb.NewHolder(
            name=resident.name,
            document_type=resident.document_type,
            document_number=resident.document_number,
            region=resident.region,
        )
        for resident in batch
    ]
    holder_ids = admin.EnrolHolders(
        pb.EnrolHoldersRequest(holders=new_holders), timeout=_TIMEOUT_S
    ).holder_ids
    new_credentials = [
        pb.NewCredential(holder_id=holder_id, kind=int(CredentialKind.PHONE))  # type: ignore[arg-type]
        for holder_id in holder_ids
    ]
    indices = admin.IssueCredentials(
        pb.IssueCredentialsRequest(credentials=new_credentials), timeout=_TIMEOUT_S
    ).credential_indices
    changes = [
        _change(holder_id, resident.colour) for holder_id, resident in zip(holder_ids, batch, strict=True)
    ]
    admin.SetStatuses(pb.SetStatusesRequest(changes=changes), timeout=_TIMEOUT_S)
    return [
        Enrolled(index, 1, CredentialKind.PHONE, _VERDICTS[resident.colour])
        for index, resident in zip(indices, batch, strict=True)
    ]


def _change(holder_id: int, colour: Colour) -> pb.StatusChange:
    return pb.StatusChange(
        holder_id=holder_id,
        colour=int(colour),  # type: ignore[arg-type]
        reason=0 if colour is Colour.GREEN else REASON_CLOSE_CONTACT,
        authority="city health office",
        operator="demo",
    )
