"""Commands on groups of gates: what the gates of each ask of a green."""

from collections.abc import Callable
from typing import Any

import click

from issuer.cli.errors import Refused
from issuer.cli.gate import publication
from issuer.cli.session import Session, asks_issuer, changes
from issuer.v1 import gates_pb2 as pb

_COLUMNS = (
    *("name", "gates", "max_test_age_s", "max_status_age_s", "yellow_opens"),
    *("one_entry", "paper_entry_s"),
)
_U32 = 2**32 - 1


@click.group()
def group() -> None:
    """Groups of gates, and the policy of each. A verifier's own limits hold as well: the stricter counts."""


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that make a policy; what is not given is None."""
    for option in reversed(
        (
            click.option(
                "--max-test-age-s",
                type=click.IntRange(0, _U32),
                help="The oldest negative test; 0 asks for none.",
            ),
            click.option(
                "--max-status-age-s",
                type=click.FloatRange(0, _U32 / 1_000),
                help="The oldest status, in thousandths at the finest; 0 takes any.",
            ),
            click.option(
                "--yellow-opens/--no-yellow-opens", default=None, help="Whether a yellow holder may pass."
            ),
            click.option(
                "--one-entry/--no-one-entry",
                default=None,
                help="Whether a code opens once only in its window.",
            ),
            click.option(
                "--paper-entry-s",
                type=click.IntRange(1, _U32),
                help="With --one-entry: when a printed card may enter again.  [default: 900]",
            ),
        )
    ):
        command = option(command)
    return command


@group.command("add")
@click.argument("name")
@policy_options
@changes
@asks_issuer
def add_group(session: Session, *, name: str, apply: bool, **options: Any) -> None:
    """Add a group of gates. Without options its gates open for every green.

    Example: gatelight-issuer group add stations --one-entry --apply
    """
    if any(one.name == name for one in _groups(session)):
        raise Refused(f"there is a group {name} already: change it with `gatelight-issuer group set`")
    policy = _changed(pb.GatePolicy(), options)
    if session.is_agreed(f"add the group {name}: {_in_words(policy)}", apply=apply):
        answer = session.ask(session.client.gates.AddGroup, pb.AddGroupRequest(name=name, policy=policy))
        session.show_done({"group": name}, publication(answer))


@group.command("set")
@click.argument("name")
@policy_options
@changes
@asks_issuer
def set_policy(session: Session, *, name: str, apply: bool, **options: Any) -> None:
    """Change the policy of a group; what is not named stays. Its gates go by it within seconds.

    Example: gatelight-issuer group set stations --max-status-age-s 30 --apply
    """
    found = _require(session, name)
    policy = _changed(found.policy, options)
    if policy == found.policy:
        raise Refused(f"the group {name} asks for that already: {_in_words(policy)}")
    plan = (
        f"set the policy of the group {name} (gates: {found.gates})\n"
        f"  is:       {_in_words(found.policy)}\n"
        f"  will be:  {_in_words(policy)}"
    )
    if session.is_agreed(plan, apply=apply):
        request = pb.SetGroupPolicyRequest(name=name, policy=policy)
        session.show_done(
            {"group": name}, publication(session.ask(session.client.gates.SetGroupPolicy, request))
        )


@group.command("remove")
@click.argument("name")
@changes
@asks_issuer
def remove_group(session: Session, *, name: str, apply: bool) -> None:
    """Remove a group that no gate belongs to.

    Example: gatelight-issuer group remove stations --apply
    """
    found = _require(session, name)
    if found.gates:
        raise Refused(
            f"gates belong to the group {name} ({found.gates}): move or remove them first, see "
            f"`gatelight-issuer gate list --group {name}`"
        )
    if session.is_agreed(f"remove the group {name}", apply=apply):
        answer = session.ask(session.client.gates.RemoveGroup, pb.RemoveGroupRequest(name=name))
        session.show_done({"group": name}, publication(answer))


@group.command("list")
@asks_issuer
def list_groups(session: Session) -> None:
    """List the groups, with the policy of each.

    Example: gatelight-issuer group list
    """
    session.show_list(_COLUMNS, [[_fields(one, is_json=session.is_json) for one in _groups(session)]])


def _groups(session: Session) -> list[pb.GateGroup]:
    return list(session.ask(session.client.gates.ListGroups, pb.ListGroupsRequest()).groups)


def _require(session: Session, name: str) -> pb.GateGroup:
    found = next((one for one in _groups(session) if one.name == name), None)
    if found is None:
        raise Refused(f"there is no group {name}: see `gatelight-issuer group list`")
    return found


def _changed(before: pb.GatePolicy, options: dict[str, Any]) -> pb.GatePolicy:
    """Return a policy with what was given changed."""
    policy = pb.GatePolicy()
    policy.CopyFrom(before)
    for field, value in (
        ("max_test_age_s", options["max_test_age_s"]),
        ("max_status_age_ms", _milliseconds(options["max_status_age_s"])),
    ):
        if value == 0:
            policy.ClearField(field)
        elif value is not None:
            setattr(policy, field, value)
    if options["yellow_opens"] is not None:
        policy.yellow_opens = options["yellow_opens"]
    if options["one_entry"] is not None:
        policy.is_one_entry = options["one_entry"]
    if options["paper_entry_s"] is not None:
        policy.paper_entry_s = options["paper_entry_s"]
    return policy


def _milliseconds(age_s: float | None) -> int | None:
    """Return whole milliseconds: 0, which asks for nothing, for 0 alone."""
    if not age_s:
        return None if age_s is None else 0
    return max(1, round(1_000 * age_s))


def _max_status_age_s(policy: pb.GatePolicy) -> float | None:
    return policy.max_status_age_ms / 1_000 if policy.HasField("max_status_age_ms") else None


def _in_words(policy: pb.GatePolicy) -> str:
    """Return what a policy asks, within a sentence."""
    asked = []
    if policy.HasField("max_test_age_s"):
        asked.append(f"a test of the last {policy.max_test_age_s} s")
    if (age_s := _max_status_age_s(policy)) is not None:
        asked.append(f"a status of the last {age_s:g} s")
    if policy.is_one_entry:
        again = f", a card again after {policy.paper_entry_s} s" if policy.paper_entry_s else ""
        asked.append(f"one entry for each code{again}")
    asked.append("yellow opens" if policy.yellow_opens else "green alone opens")
    return "; ".join(asked)


def _fields(found: pb.GateGroup, *, is_json: bool) -> dict[str, object]:
    policy = found.policy
    yellow_opens, one_entry = policy.yellow_opens, policy.is_one_entry
    return {
        "name": found.name,
        "gates": found.gates,
        "max_test_age_s": policy.max_test_age_s if policy.HasField("max_test_age_s") else None,
        "max_status_age_s": _max_status_age_s(policy),
        "yellow_opens": yellow_opens if is_json else _yes(is_so=yellow_opens),
        "one_entry": one_entry if is_json else _yes(is_so=one_entry),
        "paper_entry_s": policy.paper_entry_s if is_json or one_entry else None,
    }


def _yes(*, is_so: bool) -> str:
    return "yes" if is_so else ""
