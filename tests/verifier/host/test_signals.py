"""Signals wake whoever waits for them, at any moment, and stop nobody for good."""

import signal
import subprocess
import sys
from types import FrameType
from typing import Any

import pytest

from verifier.host.signals import Signals

_LONG_S = 60.0


def test_a_signal_that_came_before_the_wait_ends_it() -> None:
    with Signals(signal.SIGTERM, signal.SIGHUP) as signals:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        signals.wait(_LONG_S)
        assert (signals.stops, signals.is_to_reload) == (2, True)


def test_a_signal_at_any_moment_of_a_wait_is_taken_and_the_wait_ends() -> None:
    raised = 0

    def interrupt(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal raised
        raised += 1
        signal.raise_signal(signal.SIGTERM)
        return interrupt

    with Signals(signal.SIGTERM) as signals:
        tracing = sys.gettrace()
        sys.settrace(interrupt)
        try:
            signals.wait(_LONG_S)
        finally:
            sys.settrace(tracing)
        assert signals.stops == raised > 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_one_ends_a_process_at_once_where_it_is_final_though_something_hangs(
    number: signal.Signals,
) -> None:
    lines = [
        "import signal, threading",
        "from verifier.host.signals import Signals",
        "with Signals(signal.SIGTERM, signal.SIGINT, is_second_final=True) as signals:",
        f"    signal.raise_signal({int(number)})",
        "    print(signals.stops, flush=True)",
        "    threading.Event().wait()",
    ]
    hanging = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE)
    with hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == b"1\n"
        hanging.send_signal(number)
        assert hanging.wait(10) == -number


def test_what_held_before_holds_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with Signals(signal.SIGHUP):
        assert signal.getsignal(signal.SIGHUP) != before
    assert signal.getsignal(signal.SIGHUP) == before
    assert signal.set_wakeup_fd(-1) == -1
