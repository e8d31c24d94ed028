"""The targets, by name."""

from collections.abc import Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    codes,
    documents,
    feed,
    framing,
    journal,
    kept_state,
    redis_urls,
    requests,
    scan_log,
    status,
)

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        codes.TARGET,
        requests.TARGET,
        status.TARGET,
        feed.TARGET,
        documents.TARGET,
        journal.TARGET,
        kept_state.TARGET,
        scan_log.TARGET,
        framing.TARGET,
        redis_urls.TARGET,
    )
}
