"""Revision 0002, frozen: what no program may do to the register, whatever it was told.

- Status changes are appended, never changed, removed or emptied out.
- A red that is entered by hand or by an import needs an approval of its kind, which another person gave.
- What is asked for in an approval stays as it was asked. A settled one stays settled: it may only get its
  outcome, or fail while it is carried out. None is removed.
- A signing key is revoked on an approval.

Numbers: colour 3 is RED; source 1 is MANUAL, 2 IMPORT; approval states 1 PENDING, 2 APPROVED, 5 FAILED;
approval kinds 1 and 2 change statuses, 8 and 9 revoke keys; key state 4 is REVOKED.
"""

_IS_RED_OF_PEOPLE = "NEW.colour = 3 AND NEW.source IN (1, 2)"
_IS_REVOCATION = "NEW.state = 4 AND OLD.state <> 4"
_RED_APPROVAL = (
    "SELECT 1 FROM approvals "
    "WHERE id = NEW.approval_id AND kind IN (1, 2) AND state = 2 AND settled_by <> requested_by"
)
_REVOCATION_APPROVAL = (
    "SELECT 1 FROM approvals "
    "WHERE id = NEW.approval_id AND kind IN (8, 9) AND state = 2 AND settled_by <> requested_by"
)

_APPEND_ONLY = "status changes are append-only"
_NEEDS_APPROVAL = "this needs the approval of a second person"
_KEPT = "approvals are kept"
_FIXED = "what was asked and settled stays as it is"

_ASKED = ("id", "kind", "payload", "summary", "requested_by", "requested_at")
_SETTLED = ("settled_by", "settled_at")


def _is_refixed(is_not: str) -> str:
    """Return the condition under which an approval loses what is fixed; NULL is a value to `is_not`."""
    other_request = " OR ".join(f"NEW.{column} {is_not} OLD.{column}" for column in _ASKED)
    other_settlement = " OR ".join(f"NEW.{column} {is_not} OLD.{column}" for column in _SETTLED)
    other_state = "NOT (NEW.state = OLD.state OR (OLD.state = 2 AND NEW.state = 5))"
    return f"({other_request}) OR (OLD.state <> 1 AND ({other_settlement} OR {other_state}))"


def _sqlite(name: str, when: str, condition: str, problem: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{problem}'); END"


SQLITE = (
    _sqlite("status_changes_no_update", "UPDATE ON status_changes", "TRUE", _APPEND_ONLY),
    _sqlite("status_changes_no_delete", "DELETE ON status_changes", "TRUE", _APPEND_ONLY),
    _sqlite(
        "status_changes_red_approved",
        "INSERT ON status_changes",
        f"{_IS_RED_OF_PEOPLE} AND NOT EXISTS ({_RED_APPROVAL})",
        _NEEDS_APPROVAL,
    ),
    _sqlite("approvals_no_delete", "DELETE ON approvals", "TRUE", _KEPT),
    _sqlite("approvals_fixed", "UPDATE ON approvals", _is_refixed("IS NOT"), _FIXED),
    _sqlite(
        "signing_keys_revocation_approved",
        "UPDATE ON signing_keys",
        f"{_IS_REVOCATION} AND NOT EXISTS ({_REVOCATION_APPROVAL})",
        _NEEDS_APPROVAL,
    ),
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
        condition=_IS_RED_OF_PEOPLE,
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
)
