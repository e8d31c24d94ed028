"""Revision 0002, frozen: what no program may do to the register, whatever it was told.

- Status changes are appended, never changed, removed or emptied out.
- A red, wherever it comes from, needs an approval of a change of status: asked for by the operator who
  enters it, given by another person.
- An approval begins as a request. What is asked for in it stays as it was asked. A settled one stays settled:
  it may only get its outcome, or fail while it is carried out. None is removed.
- A signing key is revoked on an approval.
- The record of calls is kept. A call gets its outcome, once.

The reds of a first-release register are there before the triggers are.

Numbers: colour 3 is RED; approval states 1 PENDING, 2 APPROVED, 5 FAILED; approval kinds 1 and 2 change
statuses, 8 and 9 revoke keys; key state 4 is REVOKED.
"""

_IS_RED = "NEW.colour = 3"
_IS_REVOCATION = "NEW.state = 4 AND OLD.state <> 4"
_IS_BORN_SETTLED = "NEW.state <> 1 OR NEW.settled_by IS NOT NULL OR NEW.settled_at IS NOT NULL"
_RED_APPROVAL = (
    "SELECT 1 FROM approvals JOIN clients ON clients.id = approvals.requested_by "
    "WHERE approvals.id = NEW.approval_id AND approvals.kind IN (1, 2) AND approvals.state = 2 "
    "AND approvals.settled_by <> approvals.requested_by AND clients.name = NEW.operator"
)
_REVOCATION_APPROVAL = (
    "SELECT 1 FROM approvals "
    "WHERE id = NEW.approval_id AND kind IN (8, 9) AND state = 2 AND settled_by <> requested_by"
)

_APPEND_ONLY = "status changes are append-only"
_NEEDS_APPROVAL = "this needs the approval of a second person"
_KEPT = "approvals are kept"
_BEGINS_PENDING = "an approval begins as a request"
_CALLS_KEPT = "the record of calls is kept"
_FIXED = "what was asked and settled stays as it is"

_ASKED = ("id", "kind", "payload", "summary", "requested_by", "requested_at")
_SETTLED = ("settled_by", "settled_at")
_CALLED = ("seq", "client_id", "method", "target", "called_at")


def _is_refixed(is_not: str) -> str:
    """Return the condition under which an approval loses what is fixed; NULL is a value to `is_not`."""
    other_request = " OR ".join(f"NEW.{column} {is_not} OLD.{column}" for column in _ASKED)
    other_settlement = " OR ".join(f"NEW.{column} {is_not} OLD.{column}" for column in _SETTLED)
    other_state = "NOT (NEW.state = OLD.state OR (OLD.state = 2 AND NEW.state = 5))"
    return f"({other_request}) OR (OLD.state <> 1 AND ({other_settlement} OR {other_state}))"


def _is_recalled(is_not: str) -> str:
    """Return the condition under which a call loses what is fixed."""
    other_call = " OR ".join(f"NEW.{column} {is_not} OLD.{column}" for column in _CALLED)
    return f"{other_call} OR OLD.outcome <> ''"


def _sqlite(name: str, when: str, condition: str, problem: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{problem}'); END"


SQLITE = (
    _sqlite("status_changes_no_update", "UPDATE ON status_changes", "TRUE", _APPEND_ONLY),
    _sqlite("status_changes_no_delete", "DELETE ON status_changes", "TRUE", _APPEND_ONLY),
    _sqlite(
        "status_changes_red_approved",
        "INSERT ON status_changes",
        f"{_IS_RED} AND NOT EXISTS ({_RED_APPROVAL})",
        _NEEDS_APPROVAL,
    ),
    _sqlite("approvals_begin_pending", "INSERT ON approvals", _IS_BORN_SETTLED, _BEGINS_PENDING),
    _sqlite("approvals_no_delete", "DELETE ON approvals", "TRUE", _KEPT),
    _sqlite("approvals_fixed", "UPDATE ON approvals", _is_refixed("IS NOT"), _FIXED),
    _sqlite(
        "signing_keys_revocation_approved",
        "UPDATE ON signing_keys",
        f"{_IS_REVOCATION} AND NOT EXISTS ({_REVOCATION_APPROVAL})",
        _NEEDS_APPROVAL,
    ),
    _sqlite("calls_no_delete", "DELETE ON calls", "TRUE", _CALLS_KEPT),
    _sqlite("calls_fixed", "UPDATE ON calls", _is_recalled("IS NOT"), _CALLS_KEPT),
)


def _function(name: str, condition: str) -> str:
    """Return a function that refuses a row, with the trigger's name as that of the rule, if `condition`."""
    return f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {condition} THEN
                RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
                    MESSAGE = TG_ARGV[0], CONSTRAINT = TG_NAME;
            END IF;
            RETURN NEW;
        END $$"""


def _postgresql(name: str, when: str, function: str, problem: str, *, condition: str = "TRUE") -> str:
    level = "STATEMENT" if when.startswith("TRUNCATE") else f"ROW WHEN ({condition})"
    return f"CREATE TRIGGER {name} BEFORE {when} FOR EACH {level} EXECUTE FUNCTION {function}('{problem}')"


POSTGRESQL = (
    _function("gatelight_refuse", "TRUE"),
    _function("gatelight_refuse_unapproved_red", f"NOT EXISTS ({_RED_APPROVAL})"),
    _function("gatelight_refuse_unapproved_revocation", f"NOT EXISTS ({_REVOCATION_APPROVAL})"),
    _postgresql("status_changes_no_update", "UPDATE ON status_changes", "gatelight_refuse", _APPEND_ONLY),
    _postgresql("status_changes_no_delete", "DELETE ON status_changes", "gatelight_refuse", _APPEND_ONLY),
    _postgresql("status_changes_no_truncate", "TRUNCATE ON status_changes", "gatelight_refuse", _APPEND_ONLY),
    _postgresql(
        "status_changes_red_approved",
        "INSERT ON status_changes",
        "gatelight_refuse_unapproved_red",
        _NEEDS_APPROVAL,
        condition=_IS_RED,
    ),
    _postgresql(
        "approvals_begin_pending",
        "INSERT ON approvals",
        "gatelight_refuse",
        _BEGINS_PENDING,
        condition=_IS_BORN_SETTLED,
    ),
    _postgresql("approvals_no_delete", "DELETE ON approvals", "gatelight_refuse", _KEPT),
    _postgresql("approvals_no_truncate", "TRUNCATE ON approvals", "gatelight_refuse", _KEPT),
    _postgresql(
        "approvals_fixed",
        "UPDATE ON approvals",
        "gatelight_refuse",
        _FIXED,
        condition=_is_refixed("IS DISTINCT FROM"),
    ),
    _postgresql(
        "signing_keys_revocation_approved",
        "UPDATE ON signing_keys",
        "gatelight_refuse_unapproved_revocation",
        _NEEDS_APPROVAL,
        condition=_IS_REVOCATION,
    ),
    _postgresql("calls_no_delete", "DELETE ON calls", "gatelight_refuse", _CALLS_KEPT),
    _postgresql("calls_no_truncate", "TRUNCATE ON calls", "gatelight_refuse", _CALLS_KEPT),
    _postgresql(
        "calls_fixed",
        "UPDATE ON calls",
        "gatelight_refuse",
        _CALLS_KEPT,
        condition=_is_recalled("IS DISTINCT FROM"),
    ),
)
