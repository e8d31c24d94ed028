"""What counts as wrong: each rule before, on and after its threshold, and each trouble in words."""

import io
import json

import pytest
from rich.console import Console

from verifier import health_rules as rules
from verifier.health_rules import Problem, in_words, is_serving, problems
from verifier.seen_metrics import PREFIX, NotSeen, SeenMetrics
from verifier.status_page import Page
from verifier.trouble import Part, Trouble

_WELL = {"workers_serving": 2.0, "workers": 2.0, "key_set_version": 3.0, "status_age_seconds": 0.4}


def _seen(**more: float) -> SeenMetrics:
    values = _WELL | more
    return SeenMetrics("".join(f"{PREFIX}{name} {value}\n" for name, value in values.items()))


def _found(**more: float) -> list[tuple[str, str]]:
    return [(problem.part, problem.kind) for problem in problems(_seen(**more))]


def test_nothing_is_wrong_with_a_verifier_that_is_well() -> None:
    assert problems(_seen()) == []
    assert is_serving(_seen())


@pytest.mark.parametrize(
    ("name", "limit", "problem"),
    [
        ("status_age_seconds", rules.STATUS_OLD_S, ("mirror", "old")),
        ("feed_lag_seconds", rules.FEED_LAG_S, ("mirror", "lag")),
        ("journal_unshipped_seconds", rules.SCAN_LOG_UNSHIPPED_S, ("scan_log", "unshipped")),
        ("journal_unarchived_seconds", rules.SCAN_LOG_UNARCHIVED_S, ("scan_log", "unarchived")),
        ("kept_state_age_seconds", rules.KEPT_STATE_OLD_S, ("kept_state", "old")),
        ("redis_reply_seconds", rules.REDIS_SLOW_S, ("redis", "slow")),
        ("clock_step_seconds", rules.CLOCK_STEP_S, ("clock", "step")),
        ("clock_redis_seconds", rules.CLOCK_REDIS_S, ("clock", "redis")),
        ("workers_outdated", 0.0, ("workers", "outdated")),
    ],
)
def test_what_is_above_its_limit_is_wrong(name: str, limit: float, problem: tuple[str, str]) -> None:
    assert _found(**{name: limit - 0.001}) == _found(**{name: limit}) == []
    assert _found(**{name: limit + 0.001}) == [problem]


@pytest.mark.parametrize(
    ("name", "limit", "part"),
    [
        ("key_set_left_seconds", rules.KEY_SET_LEFT_S, "key_set"),
        ("gate_list_left_seconds", rules.GATE_LIST_LEFT_S, "gate_list"),
        ("tls_certificate_left_seconds", rules.CERTIFICATE_LEFT_S, "certificate"),
    ],
)
def test_what_ends_soon_is_told_apart_from_what_has_ended(name: str, limit: float, part: str) -> None:
    assert _found(**{name: limit + 1}) == []
    assert _found(**{name: limit}) == _found(**{name: 1.0}) == [(part, "ending")]
    assert _found(**{name: 0.0}) == _found(**{name: -90.0}) == [(part, "ended")]


def test_a_key_set_that_is_not_in_force_yet_is_told_of_with_the_time_that_it_takes() -> None:
    assert _found(key_set_starts_in_seconds=0, key_set_left_seconds=864_000) == []
    early = _seen(workers_serving=0, key_set_starts_in_seconds=3_600, key_set_left_seconds=864_000)
    found = problems(early)
    assert [(one.part, one.kind) for one in found] == [("workers", "none"), ("key_set", "not_yet")]
    assert "not in force for another 60 min" in found[1].text
    assert "compare clocks" in found[1].text
    line = next(line for line in Page.of(early).lines if line.name == "key set")
    assert line.text == "version 3, ends in 10 days, not in force for another 60 min"
    assert line.values["starts_in_s"] == 3_600


def test_descriptors_are_few_above_their_share() -> None:
    assert _found(descriptors_open=90, descriptors_limit=100) == []
    assert _found(descriptors_open=91, descriptors_limit=100) == [("descriptors", "few")]


def test_a_clock_that_was_set_back_is_as_wrong_as_one_that_was_put_forward() -> None:
    assert _found(clock_step_seconds=-300) == [("clock", "step")]


def test_calls_that_wait_are_too_many_above_their_share() -> None:
    assert _found(in_flight=4_096, backlog_limit=8_192) == []
    assert _found(in_flight=4_097, backlog_limit=8_192) == [("calls", "waiting")]


def _in_a_second(before: str, now: str) -> list[tuple[str, str]]:
    """Return what is wrong by two looks."""
    first, second = (
        SeenMetrics("".join(f"{PREFIX}{line}\n" for line in ("workers_serving 1", *text.split(";")) if line))
        for text in (before, now)
    )
    second.at_s = first.at_s + 1
    return [(problem.part, problem.kind) for problem in problems(second, first)]


@pytest.mark.parametrize(
    ("name", "limit_per_s", "problem"),
    [
        ("failed", 0, ("calls", "failed")),
        ("shed", rules.SHED_PER_S, ("calls", "shed")),
        ("unauthenticated", rules.UNKNOWN_GATES_PER_S, ("gates", "unknown")),
    ],
)
def test_what_gets_no_answer_is_wrong_by_the_second(
    name: str, limit_per_s: int, problem: tuple[str, str]
) -> None:
    before = f"{name}_total 700"
    assert _in_a_second(before, f"{name}_total {700 + limit_per_s}") == []
    assert _in_a_second(before, f"{name}_total {701 + limit_per_s}") == [problem]
    assert problems(SeenMetrics(f"{PREFIX}workers_serving 1\n{PREFIX}{name}_total 700\n")) == []


_AGES = 'code_age_seconds_bucket{{le="-10.0"}} {0};code_age_seconds_bucket{{le="120.0"}} {1};'
_AGES += 'code_age_seconds_bucket{{le="+Inf"}} {2}'
_CALLS = 'call_seconds_bucket{{le="0.1",method="StreamVerify"}} {0};'
_CALLS += 'call_seconds_bucket{{le="+Inf",method="StreamVerify"}} {1};'
_CALLS += 'call_seconds_bucket{{le="+Inf",method="VerifyCodes"}} 900'
_VERDICTS = 'verdicts_total{{verdict="BAD_SIGNATURE"}} {0};verdicts_total{{verdict="UNKNOWN_KEY"}} {1};'
_VERDICTS += 'verdicts_total{{verdict="GREEN"}} {2}'


@pytest.mark.parametrize(
    ("lines", "before", "well", "wrong", "problem"),
    [
        (_AGES, (100, 300, 300), (150, 1_300, 1_300), (151, 1_300, 1_300), ("codes", "early")),
        (_AGES, (0, 300, 300), (0, 1_100, 1_300), (0, 1_099, 1_300), ("codes", "late")),
        (_AGES, (0, 0, 0), (4, 4, 4), (5, 5, 5), ("codes", "early")),  # fewer are chance
        (_VERDICTS, (0, 90, 0), (50, 140, 900), (50, 141, 900), ("codes", "forged")),
        (_CALLS, (0, 100), (990, 1_100), (989, 1_100), ("calls", "slow")),
        (_CALLS, (0, 0), (0, 4), (0, 5), ("calls", "slow")),
    ],
)
def test_shares_are_those_of_a_second(
    lines: str,
    before: tuple[int, ...],
    well: tuple[int, ...],
    wrong: tuple[int, ...],
    problem: tuple[str, str],
) -> None:
    first = lines.format(*before)
    assert _in_a_second(first, lines.format(*well)) == []
    assert _in_a_second(first, lines.format(*wrong)) == [problem]


def test_counts_that_fell_are_those_of_a_new_start() -> None:
    before = SeenMetrics(f"{PREFIX}workers_serving 1\n{PREFIX}calls_total 9\n{PREFIX}shed_total 2\n")
    now = SeenMetrics(f"{PREFIX}workers_serving 1\n{PREFIX}calls_total 3\n{PREFIX}shed_total 2\n")
    now.at_s = before.at_s + 2
    counted = now.since(before)
    assert (counted.total("calls_total"), counted.total("shed_total"), counted.over_s) == (3, 2, 2)
    assert counted.value("workers_serving") is None
    calls = [line.text for line in Page.of(now, before).lines if line.name == "calls"]
    assert calls == ["2 a second; 0 in flight, 0 streams open"]


def test_workers_that_do_not_serve_are_told_of_first() -> None:
    assert _found(workers_serving=1) == [("workers", "few")]
    assert _found(workers_serving=0) == [("workers", "none")]
    assert _found(workers_serving=0, key_set_version=0) == [("workers", "none"), ("key_set", "not_there")]
    assert not is_serving(_seen(workers_serving=0))


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("kind", Trouble)
def test_each_trouble_of_each_part_has_a_sentence(part: Part, kind: Trouble) -> None:
    text = f'{PREFIX}workers_serving 1\n{PREFIX}workers 1\n{PREFIX}trouble_seconds{{part="{part}"}} 43\n'
    text += f'{PREFIX}trouble{{kind="{kind}",part="{part}"}} 1\n'
    (problem,) = problems(SeenMetrics(text))
    assert (problem.part, problem.kind, problem.since_s) == (part, kind, 43)
    assert " for 43 s: " in problem.text
    assert problem.text.count(";") >= 1  # what to do


def test_what_follows_from_trouble_is_not_told_beside_it() -> None:
    old = f"{PREFIX}workers_serving 1\n{PREFIX}workers 1\n{PREFIX}status_age_seconds 60\n"
    old += f"{PREFIX}redis_reply_seconds 1\n{PREFIX}feed_lag_seconds 60\n"
    assert [one.kind for one in problems(SeenMetrics(old))] == ["old", "lag", "slow"]
    old += f'{PREFIX}trouble{{kind="redis_timeout",part="mirror"}} 1\n'
    assert [one.kind for one in problems(SeenMetrics(old))] == ["redis_timeout", "lag"]


def _in_trouble(kind: Trouble, *parts: Part, since_s: float = 9.4, **more: float) -> SeenMetrics:
    lines = [f"{PREFIX}{name} {value}\n" for name, value in (_WELL | more).items()]
    for part in parts:
        lines.append(f'{PREFIX}trouble{{kind="{kind}",part="{part}"}} 1\n')
        lines.append(f'{PREFIX}trouble_seconds{{part="{part}"}} {since_s}\n')
    return SeenMetrics("".join(lines))


def _printed(seen: SeenMetrics) -> str:
    console = Console(file=io.StringIO(), width=200)
    Page.of(seen).print(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_several_parts_suffer_from_is_told_once_with_a_line_for_each() -> None:
    seen = _in_trouble(Trouble.REDIS_TIMEOUT, Part.KEY_SET, Part.MIRROR, Part.SCAN_LOG)
    lines = _printed(seen).splitlines()
    first = lines.index("! Redis does not answer (timeout) for 9.4 s:")
    parts, advice = lines[first + 1 : first + 4], lines[first + 4 :]
    assert [line[:17].strip() for line in parts] == ["key set", "mirror", "scan log"]
    assert "verdicts go on from the mirror" in parts[1]
    assert len(advice) == 1
    assert "does `redis-cli ping`, to the Redis of --redis-url, come back?" in advice[0]
    assert [one["part"] for one in Page.of(seen).to_json()["problems"]] == ["key_set", "mirror", "scan_log"]
    assert set(Page.of(seen).to_json()["problems"][0]) == {"part", "kind", "since_s", "text"}


def test_one_part_in_trouble_is_told_in_one_line() -> None:
    printed = _printed(_in_trouble(Trouble.REDIS_TIMEOUT, Part.MIRROR))
    assert "! mirror: Redis does not answer (timeout) for 9.4 s: verdicts go on from the mirror" in printed


def test_status_that_ages_by_a_full_redis_says_so_and_does_not_ask_for_the_issuer() -> None:
    def told(kind: Trouble, part: Part) -> str:
        found = problems(_in_trouble(kind, part, status_age_seconds=60))
        return next(one.text for one in found if one.kind == "old")

    for kind, cause in (
        (Trouble.REDIS_OUT_OF_MEMORY, "Redis is out of memory"),
        (Trouble.REDIS_STOPS_WRITES, "Redis takes no writes for now"),
    ):
        text = told(kind, Part.SCAN_LOG)
        assert f"60 s old because {cause}" in text
        assert "issuer" not in text
    assert "is the issuer running" in told(Trouble.DISK_FULL, Part.KEPT_STATE)
    assert "is the issuer running" in told(Trouble.REDIS_TIMEOUT, Part.ENTRIES)


def test_trouble_is_told_from_a_second_on() -> None:
    for since_s, count in ((0.999, 0), (1.0, 1), (1.001, 1)):
        seen = _in_trouble(Trouble.REDIS_TIMEOUT, Part.ENTRIES, since_s=since_s)
        assert len(problems(seen)) == count
        assert Page.of(seen).state == ("degraded" if count else "ok")


def test_before_there_is_anything_nothing_goes_on() -> None:
    parts = (Part.KEY_SET, Part.GATE_LIST, Part.SCAN_LOG, Part.KEPT_STATE, Part.JOURNAL)
    found = problems(_in_trouble(Trouble.REDIS_UNREACHABLE, *parts, workers_serving=0, key_set_version=0))
    texts = {one.part: one.text for one in found if one.of_part}
    assert "there is no key set yet, so there are no verdicts" in texts["key_set"]
    assert "there is no gate list yet" in texts["gate_list"]
    assert not any("go on" in text for text in texts.values())
    assert [one.part for one in found].count("key_set") == 1


def test_the_root_key_is_doubted_only_while_no_key_set_was_taken() -> None:
    def told(version: int) -> str:
        (problem,) = problems(_in_trouble(Trouble.NOT_TRUSTED, Part.KEY_SET, key_set_version=version))
        return problem.text

    assert "--root-key" in told(0)
    assert "--root-key" not in told(1)
    assert "`gatelight-issuer cache check --apply` brings the right one back" in told(1)


def test_since_when_is_told_of_what_has_ended() -> None:
    assert [one.since_s for one in problems(_seen(key_set_left_seconds=-90))] == [90]
    assert [one.since_s for one in problems(_seen(key_set_left_seconds=90))] == [None]


def test_counts_are_whole_numbers_as_data_and_times_are_not() -> None:
    told = json.dumps(Page.of(_seen(calls_total=3, key_set_left_seconds=864_000)).to_json())
    assert '"count": 3,' in told
    assert '"version": 3, "left_s": 864000.0' in told


def test_a_redis_that_is_no_witness_of_the_time_is_not_missed() -> None:
    def clock(**more: float) -> str:
        return next(line.text for line in Page.of(_seen(**more)).lines if line.name == "clock")

    assert clock() == "steady"
    assert clock(clock_redis_seconds=2) == "steady, 2 s from Redis's"


def test_verdicts_are_those_of_a_second() -> None:
    looks = [
        SeenMetrics(f'{PREFIX}workers_serving 1\n{PREFIX}verdicts_total{{verdict="GREEN"}} {count}\n')
        for count in (5, 25)
    ]
    looks[1].at_s = looks[0].at_s + 2
    lines = Page.of(looks[1], looks[0]).lines
    assert [line.text for line in lines if line.name == "verdicts"] == ["GREEN 10 a second"]


def test_without_a_mirror_nobody_is_told_that_verdicts_go_on() -> None:
    text = (
        f'{PREFIX}workers_serving 0\n{PREFIX}key_set_version 1\n{PREFIX}trouble_seconds{{part="mirror"}} 3\n'
    )
    text += f'{PREFIX}trouble{{kind="redis_timeout",part="mirror"}} 1\n'
    mirror: Problem = next(one for one in problems(SeenMetrics(text)) if one.part == "mirror")
    assert "Redis does not answer (timeout) for 3 s: there is no mirror yet" in mirror.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (43, "43 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (7_199, "120 min"),
        (18_000, "5.0 h"),
        (172_800, "2.0 days"),
        (2_592_000, "30 days"),
        (-300, "-5.0 min"),
    ],
)
def test_times_are_in_the_unit_that_suits_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_quantiles_are_bounds_of_buckets() -> None:
    lines = [
        f'{PREFIX}x_bucket{{le="{end}"}} {count}\n'
        for end, count in (("0.1", 50), ("0.5", 99), ("+Inf", 100))
    ]
    seen = SeenMetrics(f"{PREFIX}workers_serving 1\n" + "".join(lines))
    assert [seen.quantile("x", share) for share in (0.5, 0.51, 0.99, 1)] == [0.1, 0.5, 0.5, float("inf")]
    assert seen.quantile("y", 0.5) is None
    assert seen.since(seen).quantile("x", 0.5) is None


def test_text_that_is_of_no_verifier_is_not_seen() -> None:
    for text in ("", "up 1\n", "{{{"):
        with pytest.raises(NotSeen):
            SeenMetrics(text)
