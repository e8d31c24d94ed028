"""What a city needs, from what a scan costs here: arithmetic alone, each line with its formula in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from issuer.signing import ROTATION_S
from loadtest.costs import Costs
from loadtest.sizes import Sizes
from verifier.journal.shipper import MAX_STREAM_BATCHES
from verifier.wire.scan_log import MAX_BATCH_BYTES
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import FEED_MAX_ENTRIES

# A minute: scans that one system was rated for (Caijing, 4 January 2022), and requests, whatever for, that
# another met (leiphone.com industrynews xEQBrXKQLFlbf4OI).
PUBLIC_PEAKS = {
    "Xi'an, rated in 2021": (1.2e6, "scans"),
    "Guangdong, 10 January 2022": (1.4e6, "requests, each taken as a scan"),
}
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60
# A phone is told to come back at random in the second half of its bundle (refresh_after).
_BUNDLE_SHARE = 0.75
_MIB, _GIB = 2**20, 2**30

ASSUMPTIONS = (
    "cost was measured on one machine; cores of other kinds differ",
    "beyond the cores that were measured, cost is taken to grow in proportion; workers share nothing but "
    "the mirror, but this was not tried",
    "connections are spread evenly over hosts, and no code is remembered: each costs its signature",
    "the peak lasts; a crowd that is late, and retries, come on top: that is what is kept free for",
    "plain text: TLS is not in the cost",
    "cores of Redis, of the archive and of the register are not counted; the archive is taken to keep up: "
    "measure it with `python -m loadtest archive`",
    "gates where a code opens once claim each green scan in Redis: what that takes there is not counted",
    "each change of status goes from Redis to every host as well: how many there are a day is not asked, and "
    "that traffic is not counted",
    "what HTTP/2, TCP and IP add to messages is an estimate (loadtest/sizes.py)",
)


@dataclass(frozen=True, slots=True)
class City:
    """What is known of a city, and how it wants to be served."""

    people: float  # with a credential each
    scans_per_person_day: float = 2.0
    displays_per_scan: float = 10.0  # Sichuan, September 2022: 204 million displays, 19 million scans
    peak_factor: float = 10.0  # the busiest minute against the mean of the day
    peak_per_minute: float = 0.0  # known from elsewhere
    headroom: float = 0.5  # share of the cores that is to be free at the peak
    is_batched: bool = False  # gates send by hubs, a hundred scans a call
    bundle_hours: float = 12.0  # of codes that a phone fetches at once
    fetching_share: float = 1.0  # of the people whose phones keep codes ahead at the same time
    retention_days: float = 28.0  # of the scan log in the register
    cores_a_host: int = 32

    @property
    def scans_a_day(self) -> float:
        """Scans a day."""
        return self.people * self.scans_per_person_day

    @property
    def peak_per_s(self) -> float:
        """The larger of the day's mean times the factor and the peak that is known, a second."""
        return max(self.scans_a_day / _DAY_S * self.peak_factor, self.peak_per_minute / _MINUTE_S)


@dataclass(frozen=True, slots=True)
class Need:
    """One line of a plan."""

    group: str
    what: str
    value: float
    unit: str
    how: str  # the formula, in words


def needs(city: City, costs: Costs, sizes: Sizes) -> Sequence[Need]:
    """Return the plan of a city."""
    return [
        *_crowd(city),
        *_verifiers(city, costs),
        *_redis(city, costs),
        *_network(city, costs, sizes),
        *_scan_log(city, costs, sizes),
        *_issuer(city, costs, sizes),
        *_public_peaks(city, costs),
    ]


def cores(per_s: float, cost_us: float, headroom: float) -> int:
    """Return the whole cores that `per_s` things keep busy for 1 - headroom of their time at most."""
    # Rounded first: 1e6 things of 1 µs are one core, whatever binary fractions say.
    return ceil(round(per_s * cost_us / 1e6 / (1 - headroom), 6))


def _crowd(city: City) -> Sequence[Need]:
    average = city.scans_a_day / _DAY_S
    how = f"mean x {city.peak_factor:g}"
    if city.peak_per_minute:
        how = f"the larger of {how} and the {city.peak_per_minute:,.0f} a minute that were given"
    displays = city.scans_a_day * city.displays_per_scan
    return [
        Need("crowd", "scans a day", city.scans_a_day, "", f"people x {city.scans_per_person_day:g}"),
        Need("crowd", "scans, mean", average, "1/s", "a day / 86 400 s"),
        Need("crowd", "scans, peak", city.peak_per_s, "1/s", how),
        Need(
            "crowd",
            "displays a day",
            displays,
            "",
            f"scans x {city.displays_per_scan:g}; the phone has its codes: not one request",
        ),
    ]


def _verifiers(city: City, costs: Costs) -> Sequence[Need]:
    flavour, cost_us = _scan(city, costs)
    needed = _verifier_cores(city, costs)
    mirror_mib = RECORD_BYTES * city.people / _MIB
    memory_mib = 2 * mirror_mib + city.cores_a_host * costs.worker_mib
    return [
        Need(
            "verifiers",
            f"cores, {flavour}",
            needed,
            "cores",
            f"peak x {cost_us:.0f} µs / {1 - city.headroom:.2g}, {city.headroom:.0%} staying free",
        ),
        Need(
            "verifiers",
            f"hosts of {city.cores_a_host} cores",
            _hosts(city, costs),
            "hosts",
            "cores / cores of a host, and one spare",
        ),
        Need(
            "verifiers",
            "memory of each",
            memory_mib / 1024,
            "GiB",
            f"2 x 8 bytes x people, the mirror and a new one being loaded, and {city.cores_a_host} workers "
            f"x {costs.worker_mib:.0f} MiB",
        ),
    ]


def _scan(city: City, costs: Costs) -> tuple[str, float]:
    """Return how a scan comes in, and what it costs, µs."""
    return ("batched", costs.batch_us) if city.is_batched else ("unary", costs.unary_us)


def _verifier_cores(city: City, costs: Costs) -> int:
    return cores(city.peak_per_s, _scan(city, costs)[1], city.headroom)


def _hosts(city: City, costs: Costs) -> int:
    return ceil(_verifier_cores(city, costs) / city.cores_a_host) + 1


def _redis(city: City, costs: Costs) -> Sequence[Need]:
    status = costs.redis_bytes_a_credential * city.people
    feed = costs.redis_bytes_a_feed_entry * FEED_MAX_ENTRIES
    stream = MAX_STREAM_BATCHES * MAX_BATCH_BYTES
    return [
        Need(
            "Redis",
            "status",
            status / _MIB,
            "MiB",
            f"people x {costs.redis_bytes_a_credential:.1f} bytes",
        ),
        Need(
            "Redis",
            "feed",
            feed / _MIB,
            "MiB",
            f"{FEED_MAX_ENTRIES:,} entries of one change x {costs.redis_bytes_a_feed_entry:.0f} bytes; "
            "large imports more",
        ),
        Need(
            "Redis",
            "scan log, at most",
            stream / _MIB,
            "MiB",
            f"{MAX_STREAM_BATCHES:,} batches of {MAX_BATCH_BYTES >> 10} KiB, while the archive is away",
        ),
        Need("Redis", "together", (status + feed + stream) / _MIB, "MiB", "the sum, without entries"),
    ]


def _network(city: City, costs: Costs, sizes: Sizes) -> Sequence[Need]:
    came, went = sizes.scan_in, sizes.scan_out
    if city.is_batched:
        came, went = sizes.batch_scan_in, sizes.batch_scan_out
    log = sizes.journal_entry
    hosts = _hosts(city, costs)
    return [
        _megabits("into the verifiers", city.peak_per_s, came, "peak x {:.0f} bytes a request"),
        _megabits("out of them", city.peak_per_s, went, "peak x {:.0f} bytes an answer"),
        _megabits(
            "scan log to Redis",
            city.peak_per_s,
            log,
            "peak x {:.0f} bytes an entry, and again to the archive",
        ),
        Need(
            "network",
            "status from Redis, at a new epoch",
            hosts * RECORD_BYTES * city.people / _MIB,
            "MiB",
            f"{RECORD_BYTES} bytes x people to each of {hosts} hosts, as fast as it goes",
        ),
    ]


def _megabits(what: str, per_s: float, size: float, how: str) -> Need:
    return Need("network", what, per_s * size * 8 / 1e6, "Mbit/s", how.format(size))


def _scan_log(city: City, costs: Costs, sizes: Sizes) -> Sequence[Need]:
    rows = city.scans_a_day * city.retention_days
    return [
        Need(
            "scan log",
            "journals and Redis, a day",
            city.scans_a_day * sizes.journal_entry / _GIB,
            "GiB",
            f"scans a day x {sizes.journal_entry:.0f} bytes; gone when archived",
        ),
        Need("scan log", "register, a day", city.scans_a_day, "rows", "a row a scan"),
        Need(
            "scan log",
            f"register, {city.retention_days:g} days",
            rows * costs.register_bytes_a_scan / _GIB,
            "GiB",
            f"rows x {costs.register_bytes_a_scan:.0f} bytes, as on SQLite, indices included",
        ),
    ]


def _issuer(city: City, costs: Costs, sizes: Sizes) -> Sequence[Need]:
    fetches = city.people * city.fetching_share / (city.bundle_hours * _HOUR_S * _BUNDLE_SHARE)
    codes = fetches * city.bundle_hours * _HOUR_S / ROTATION_S
    return [
        Need(
            "issuer",
            "bundles",
            fetches,
            "1/s",
            f"people x {city.fetching_share:g} / {_BUNDLE_SHARE:g} of {city.bundle_hours:g} h: these phones "
            "keep codes ahead at once, and fetch in the second half of a bundle",
        ),
        Need("issuer", "codes", codes, "1/s", f"bundles x {city.bundle_hours:g} h / {ROTATION_S} s"),
        Need(
            "issuer",
            "cores",
            cores(codes, costs.code_us, city.headroom),
            "cores",
            f"codes x {costs.code_us:.0f} µs / {1 - city.headroom:.2g}; fetches are spread over the day",
        ),
        Need(
            "issuer",
            "bundles to phones",
            codes * sizes.bundle_code * 8 / 1e6,
            "Mbit/s",
            f"codes x {sizes.bundle_code:.0f} bytes",
        ),
    ]


def _public_peaks(city: City, costs: Costs) -> Sequence[Need]:
    found = []
    for what, (per_minute, things) in PUBLIC_PEAKS.items():
        for flavour, cost_us in (("unary", costs.unary_us), ("batched", costs.batch_us)):
            per_s = per_minute / _MINUTE_S
            how = (
                f"{per_minute / 1e6:g} million {things}, a minute = {per_s:,.0f}/s x {cost_us:.0f} µs / "
                f"{1 - city.headroom:.2g}"
            )
            needed = cores(per_s, cost_us, city.headroom)
            found.append(Need("public peaks", f"{what}, {flavour}", needed, "cores", how))
    return found
