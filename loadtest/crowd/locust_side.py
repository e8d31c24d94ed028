"""Where Locust and we meet: its options, its start and end, its users (sites) and its shape (the morning).

Locust drives this in each of its processes: the only one, a master, or a worker. A master has a Control, a
worker has a Generator, the only process has both. Messages of ours go over Locust's own connections.
"""

import logging
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import gevent
import psutil
from locust import LoadTestShape, User, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import EventHook, Events
from locust.exception import StopUser
from locust.rpc import Message
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, Runner, WorkerRunner
from rich.console import Console

from loadtest import percentiles
from loadtest.crowd.clock import steady_clock
from loadtest.crowd.control import PROVES_NOTHING, Control
from loadtest.crowd.given_corpus import UnfitCorpus, open_corpus
from loadtest.crowd.options import LoadOptions, OptionError, add_options, read_options, require_room
from loadtest.crowd.report import Report

if TYPE_CHECKING:
    from loadtest.crowd.generator import Generator

_REPORT: Final = "gatelight-report"
_STOP: Final = "gatelight-stop"
# Options that the master adds for its workers.
_RUN: Final = "gatelight_run"
_PASSED_S: Final = "gatelight_passed_s"
_EXIT_USAGE: Final = 2
# A stopped run's last reports: each worker sends it at once, but its machine may be busy.
_LAST_REPORTS_S: Final = 10.0
_LAST_REPORT_LEAVES_MS: Final = 2_000
_MOST_TICKS_BEFORE_START: Final = 10

_log = logging.getLogger(__name__)


class Site(User):
    """One connection; Locust counts it as a user."""

    @task
    def scan(self) -> None:
        """Scan until the run is over."""
        if side.generator is not None:
            side.generator.run_site()
        raise StopUser


class Morning(LoadTestShape):
    """Opens sites as the scenario has it, and ends when all generators have reported their last scan."""

    # -t and -u are read (as --duration and --sites), so that Locust need not warn that they are not.
    use_common_options = True

    def reset_time(self) -> None:
        """Get ready for a run; Locust calls it before each."""
        super().reset_time()  # type: ignore[no-untyped-call]
        side.get_ready()

    def tick(self) -> tuple[int, float] | None:
        """Return how many sites are open, and how many may open in a second: all of them."""
        sites = side.open_sites()
        return None if sites is None else (sites, float(max(sites, 1)))


class LocustSide:
    """One process of Locust."""

    def __init__(self) -> None:
        self.control: Control | None = None
        self.generator: Generator | None = None
        self._environment: Environment
        self._runner: Runner
        self._is_over = False
        self._ticks_before_start = 0
        self._ending: gevent.Greenlet | None = None
        self._finished: Control | None = None
        self._corpus_of_ours = ""
        self._runs = 0

    def connect(self, events: Events) -> None:
        """Listen to Locust."""
        _listen(events.init_command_line_parser, self._on_parser)
        _listen(events.init, self._on_init)
        _listen(events.test_start, self._on_test_start)
        _listen(events.test_stopping, self._on_test_stopping)
        _listen(events.quit, self._on_quit)

    # The master's side of a run.

    def get_ready(self) -> None:
        """Forget the run before, when a further one is started in the web UI."""
        if self.control is None:
            self._is_over = False
            self._ticks_before_start = 0
            # What the web UI's own field and requests to it say is what the user wants now.
            self._take_common_options(is_last_word=True)

    def open_sites(self) -> int | None:
        """Return how many sites have to be open now; None when the run is over."""
        if self._is_over:
            return None
        if self.control is None:
            return self._sites_before_start()
        self._note_who_is_there(self.control)
        if self.control.has_ended():
            return None
        vars(self._parsed)[_PASSED_S] = self.control.passed_s
        return self.control.options.begun_sites(self.control.passed_s)

    def _note_who_is_there(self, control: Control) -> None:
        if isinstance(self._runner, MasterRunner):
            clients = self._runner.clients
            control.note_who_is_there(one for one in clients if clients[one].state != STATE_MISSING)

    def _sites_before_start(self) -> int | None:
        """Return how many are open at the begin, and so have Locust begin."""
        self._ticks_before_start += 1
        try:
            options = self._read_options()
        except OptionError as error:
            _log.error("%s", error)
            return None
        if self._ticks_before_start > _MOST_TICKS_BEFORE_START:
            _log.error("the run did not begin: is there a worker?")
            return None
        return options.open_sites(0.0)

    def _end_run(self) -> None:
        """End the run, however it came to its end; returns when everything is written."""
        # In a greenlet of its own: Locust kills those that it called us from, when it is stopped twice.
        if self.control is not None and self._ending is None:
            self._ending = gevent.spawn(self._finish, self.control)
        if self._ending is not None:
            self._ending.join()

    def _finish(self, control: Control) -> None:
        if not control.has_ended():
            self._runner.send_message(_STOP, {"run": control.name})
            until = monotonic() + _LAST_REPORTS_S
            while not control.has_ended() and monotonic() < until:
                gevent.sleep(0.02)
                self._note_who_is_there(control)
        failures = [str(one["msg"]) for one in self._runner.exceptions.values()]
        self._environment.process_exit_code = control.finish(failures)
        self._finished, self.control, self._ending = control, None, None
        self._is_over = True
        if not self._parsed.headless:
            self._show()

    def _show(self) -> None:
        if self._finished is None:
            return
        # With --json, standard output is for the program that reads it.
        console = Console(stderr=bool(self._parsed.json), highlight=False, soft_wrap=False)
        percentiles.show(self._finished.recording, console)
        console.print(f"results: {self._finished.options.results}", markup=False)

    def _take_report(self, environment: Environment, msg: Message, **_: Any) -> None:  # noqa: ARG002
        if self.control is not None:
            self.control.take(msg.node_id, Report.from_json(msg.data))

    # The generator's side.

    def _generate(self) -> None:
        from loadtest.crowd.generator import CannotGenerate, Generator  # noqa: PLC0415 - knows gRPC

        given = vars(self._parsed)
        run = self.control.name if self.control is not None else str(given[_RUN])
        passed_s = self.control.passed_s if self.control is not None else float(given[_PASSED_S])

        def send(report: Report) -> None:
            self._runner.send_message(_REPORT, report.to_json())

        try:
            self.generator = Generator(
                self._read_options(), run=run, passed_s=passed_s, send=send, tell=self._tell
            )
            _log.info("takes part in run %s", run)
        except (OptionError, CannotGenerate) as error:
            self.generator = None
            _log.error("%s", error)
            send(Report(run, 1, {}, [], [str(error)], 0, 0.0, 0.0, is_last=True))

    def _tell(self, method: str, took_s: float, size: int, failure: Exception | None) -> None:
        self._environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="gRPC",
            name=method,
            response_time=took_s * 1000,
            response_length=size,
            exception=failure,
            context={},
        )

    def _stop_generating(self) -> None:
        if self.generator is not None:
            self.generator.stop()

    def _take_stop(self, environment: Environment, msg: Message, **_: Any) -> None:  # noqa: ARG002
        self._stop_generating()

    # What Locust tells us.

    def _on_parser(self, parser: LocustArgumentParser, **_: Any) -> None:
        add_options(parser)

    def _on_init(self, environment: Environment, **_: Any) -> None:
        assert environment.runner is not None  # noqa: S101 - Locust made it before
        self._environment, self._runner = environment, environment.runner
        if not isinstance(self._runner, WorkerRunner):
            self._take_common_options(is_last_word=False)
            # From here on users are no field of the web UI's own, since it has sites.
            Morning.use_common_options = False
            self._runner.register_message(_REPORT, self._take_report)
            if self._parsed.headless:
                environment.process_exit_code = PROVES_NOTHING  # until a run has ended
        self._check_options()
        # Before Locust's own listener, which stops the run: with us, it ends in order.
        _listen(environment.events.quitting, self._on_quitting)
        # Otherwise Ctrl-C ends whichever greenlet just works, maybe the one that reports.
        gevent.signal_handler(signal.SIGINT, _interrupt)
        if isinstance(self._runner, MasterRunner):
            return
        self._runner.register_message(_STOP, self._take_stop)
        import grpc.experimental.gevent as grpc_gevent  # noqa: PLC0415 - not before Locust forked

        grpc_gevent.init_gevent()
        import loadtest.crowd.generator  # noqa: F401, PLC0415 - takes a moment, so not while a run begins

        # gevent counts timers from the time at which its loop last looked at the clock, which is before the
        # imports above: on a busy machine a run of 3 s ended after a tenth of one.
        gevent.get_hub().loop.update_now()

    def _on_test_start(self, **_: Any) -> None:
        runner = self._runner
        if not isinstance(runner, WorkerRunner):
            generators = list(runner.clients) if isinstance(runner, MasterRunner) else ["local"]
            try:
                options = self._read_options()
                require_room(options, len(generators))
                self._runs += 1
                self.control = Control(_of_run(options, self._runs), generators, steady_clock())
            except OptionError as error:
                _log.error("%s", error)
                self._is_over = True
                return
            vars(self._parsed)[_RUN] = self.control.name
            vars(self._parsed)[_PASSED_S] = self.control.passed_s
        if not isinstance(runner, MasterRunner):
            self._generate()

    def _on_test_stopping(self, **_: Any) -> None:
        if isinstance(self._runner, WorkerRunner):
            self._stop_generating()
        else:
            self._end_run()

    def _on_quitting(self, **_: Any) -> None:
        self._on_test_stopping()

    def _on_quit(self, **_: Any) -> None:
        if isinstance(self._runner, WorkerRunner):
            # Where the process ends at once, the last report does not get out of a busy machine.
            socket = self._runner.client.socket
            socket.close(linger=_LAST_REPORT_LEAVES_MS)
            socket.context.term()
            return
        # Below Locust's own tables, where people look first.
        if self._parsed.headless:
            self._show()

    # Options.

    @property
    def _parsed(self) -> Namespace:
        parsed = self._environment.parsed_options
        assert isinstance(parsed, Namespace)  # noqa: S101 - Locust parsed them
        return parsed

    def _take_common_options(self, *, is_last_word: bool) -> None:
        """Let -t and -u mean what they mean with other locustfiles.

        --duration and --sites go before them, unless they have the last word.
        """
        given = self._parsed
        if given.run_time and (is_last_word or not given.duration):
            given.duration = str(given.run_time)
        if given.num_users and (is_last_word or not given.sites):
            given.sites = str(given.num_users)
        # What is empty, Locust takes for 1 user.
        given.run_time, given.num_users = None, 0

    def _read_options(self) -> LoadOptions:
        if self._corpus_of_ours:
            self._parsed.corpus = self._corpus_of_ours
        return read_options(self._parsed, self._environment.host)

    def _check_options(self) -> None:
        """Exit with 2 when the options are wrong, as far as they are known here."""
        runner, parsed = self._runner, self._parsed
        if isinstance(runner, WorkerRunner):
            # The master sends the others; only where a file lies can each machine say for itself.
            self._corpus_of_ours = parsed.corpus or ""
            return
        try:
            options = self._read_options()
            require_room(options, _expected_generators(parsed))
            if isinstance(runner, LocalRunner) or parsed.processes:
                open_corpus(options).close()
        except (OptionError, UnfitCorpus) as error:
            sys.stderr.write(f"locust: error: {error}\n")
            # Locust has forked by now, and would leave its workers behind, looking for a master.
            for child in psutil.Process().children():
                child.terminate()
            sys.exit(_EXIT_USAGE)


def _of_run(options: LoadOptions, number: int) -> LoadOptions:
    """Return the options of the `number`th run of this process, which the web UI can start: a folder each."""
    if number == 1:
        return options
    return replace(options, results=options.results.with_name(f"{options.results.name}-{number}"))


def _expected_generators(parsed: Namespace) -> int:
    processes = int(parsed.processes or 1)
    return max(os.cpu_count() or 1 if processes < 0 else processes, int(parsed.expect_workers or 1))


def _listen(event: EventHook, listener: Callable[..., None]) -> None:
    event.add_listener(listener)  # type: ignore[no-untyped-call]


def _interrupt() -> None:
    """Interrupt Locust's main greenlet, which ends the run in order."""
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


side: Final = LocustSide()
