"""The mornings on which real systems fell over, as scenarios.

Each goes with one number, people a minute, and with time: fractions of the run take the place of minutes.
Sources are public reports of 2021 and 2022; the README names them. Imports nothing that imports gRPC:
generators fork after they have read this.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from loadtest.mix import FLOOD, GATE, SOAK
from loadtest.scenario import Act, Scenario, Threshold

_CONSTANT = ((0.0, 1.0), (1.0, 1.0))
# A minute, where the run is the hour around half past eight.
_STEP = 1 / 60
# What nobody must ever see, however slow the machine is; and what was not sent proves nothing.
_RIGHT = (Threshold("wrong", 0), Threshold("missed", 0))
_ANSWERED = (*_RIGHT, Threshold("failed", 0), Threshold("missed_by_server", 0))


def _p99(limit_ms: float) -> Threshold:
    return Threshold("honest_p99_ms", limit_ms)


def _by_name(*scenarios: Scenario) -> Mapping[str, Scenario]:
    return MappingProxyType({one.name: one for one in scenarios})


def _named(*acts: tuple[float, str]) -> Sequence[Act]:
    return tuple(Act(at, name) for at, name in acts)


# The people a minute are what verifier and generator hold together on 2 cores, one scan a call, with room for
# whatever else the machine does; the limits in milliseconds are for such a machine. A real one is given
# more, and tighter limits, with --people-a-minute and --threshold.
SCENARIOS = _by_name(
    Scenario(
        name="steady",
        about=(
            "The same crowd all the time, which every other morning is compared with. Guangzhou's code was "
            "displayed 99.48 million times on 2 June 2021, 1 151 a second on average, and held."
        ),
        profile=_CONSTANT,
        mix=GATE,
        people_a_minute=60_000,
        thresholds=(*_ANSWERED, _p99(100)),
    ),
    Scenario(
        name="monday-0830",
        about=(
            "Half past eight on a Monday: ten times the crowd within a minute, for a while, then as before. "
            "Guangdong's code met 1.4 million requests a minute on 10 January 2022; it was seen to fail at "
            "8:31 and was whole again at 9:56."
        ),
        profile=((0.0, 0.1), (0.3, 0.1), (0.3 + _STEP, 1.0), (0.7, 1.0), (0.7 + _STEP, 0.1), (1.0, 0.1)),
        mix=GATE,
        people_a_minute=90_000,
        thresholds=(*_ANSWERED, _p99(150)),
    ),
    Scenario(
        name="mass-test",
        about=(
            "Every testing site of a city connects in the same moment and scans at full rate from its first "
            "second. Xi'an's code, rated for 1.2 million scans a minute, fell for the second time on "
            "4 January 2022, when the sampling hours of all districts coincided."
        ),
        profile=_CONSTANT,
        mix=GATE,
        people_a_minute=60_000,
        # A few sites are early. The handshakes of all others are what the rest of the crowd waits behind.
        sites=400,
        openings=((0.0, 0.05), (0.2, 0.05), (0.2, 1.0), (1.0, 1.0)),
        # Those that are due before their site's connection stands wait for it, and count.
        thresholds=(*_ANSWERED, _p99(1_000)),
    ),
    Scenario(
        name="retry-storm",
        about=(
            "The verifier stands still for a tenth of the run, and every caller soon gives up and asks again "
            "at once, up to four times. On 20 December 2021 everybody in Xi'an opened and refreshed codes at "
            "the same hour, ten times the old peak and more, and the service fell."
        ),
        profile=_CONSTANT,
        mix=GATE,
        # Half as many as elsewhere, since each of them may ask four times.
        people_a_minute=30_000,
        deadline_s=0.25,
        attempts=4,
        acts=_named((0.3, "freeze-verifier"), (0.4, "thaw-verifier")),
        # Those who stood there meanwhile fail: what counts is that the rest is served at once afterwards.
        # Nobody can wait longer than their attempts take, a second in all.
        thresholds=(
            *_RIGHT,
            Threshold("right_share", 0.85, is_floor=True),
            Threshold("recovered_s", 5.0),
            Threshold("honest_p99_after_acts_ms", 500),
        ),
    ),
    Scenario(
        name="rollover",
        about=(
            "The signing key of everyone, and later the epoch of the status, changes within a second, and no "
            "honest code may be refused at any moment. Chengdu cut over to a new system on the very day, "
            "2 September 2022, with 12 million samples to take, and it stalled."
        ),
        profile=_CONSTANT,
        mix=GATE,
        people_a_minute=60_000,
        acts=_named((0.05, "publish-next-key"), (0.5, "crowd-changes-key"), (0.75, "new-epoch")),
        thresholds=(*_ANSWERED, _p99(150)),
    ),
    Scenario(
        name="cold-start",
        about=(
            "A second verifier, which knows nothing yet, joins at full load and must be right from its first "
            "answer on. Shanghai's testing code began on 9 April 2022 with everybody at once, and the surge "
            "lasted until about 14:00."
        ),
        profile=_CONSTANT,
        mix=GATE,
        people_a_minute=60_000,
        acts=_named((0.3, "start-verifier")),
        # Nobody asks twice: who is sent to a verifier that is not ready must not be helped by the other one.
        attempts=1,
        # Its start takes a core for a second, which on a small machine the running one lacks.
        thresholds=(*_ANSWERED, _p99(500)),
    ),
    Scenario(
        name="dependency-down",
        about=(
            "Redis stands still, goes on, dies, and comes back empty, at full load; verdicts stay right. "
            "Guangzhou's code held 99.48 million displays on 2 June 2021 after its cache servers had been "
            "given four times the memory: a dependency like that is what gives way."
        ),
        profile=_CONSTANT,
        mix=GATE,
        people_a_minute=60_000,
        acts=_named((0.15, "freeze-redis"), (0.35, "thaw-redis"), (0.5, "kill-redis"), (0.7, "start-redis")),
        thresholds=(*_ANSWERED, _p99(150)),
    ),
    Scenario(
        name="garbage-flood",
        about=(
            "Four of five scans are forged, altered or not codes at all, from the first second to the last, "
            "and honest people must not notice. No report has the figures of such a morning; Sichuan's "
            "204 million displays a day in September 2022 say how many pictures there are to copy."
        ),
        profile=_CONSTANT,
        mix=FLOOD,
        people_a_minute=60_000,
        thresholds=(*_ANSWERED, _p99(100)),
    ),
    Scenario(
        name="soak",
        about=(
            "Half the crowd of steady, one scan in twenty garbage, for an hour or many: memory and open "
            "files must stay level. Xi'an's code was scanned over 8 million times a day."
        ),
        profile=_CONSTANT,
        mix=SOAK,
        people_a_minute=30_000,
        duration_s=3_600,
        thresholds=(
            *_ANSWERED,
            _p99(100),
            Threshold("server_memory_growth_mib", 16),
            Threshold("server_memory_mib_an_hour_a_worker", 1),
            Threshold("server_descriptors_growth", 10),
        ),
    ),
)
