"""An import as a command: what it says before, the consent it needs, and the summary behind.

Without --apply the file is read to its end and nothing is sent. With it, rows go to the issuer and the
command can be stopped at any time: the same command goes on where it stopped.
"""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import grpc

from issuer.cli.batch_stream import NoBatchAnswer
from issuer.cli.checkpoint import Checkpoint, FileIdentity, load_checkpoint, remove_checkpoint
from issuer.cli.errors import EXIT_INTERRUPTED, EXIT_NOTHING_DONE, EXIT_REFUSED, NoAnswer, Refused
from issuer.cli.import_errors import UnusableFile
from issuer.cli.import_file import ImportFile, is_json_lines
from issuer.cli.import_options import ImportOptions
from issuer.cli.importing import Import, Outcome
from issuer.cli.options import confirm
from issuer.cli.progress import ProgressDisplay
from issuer.cli.result_file import CsvRejects, IssuedFile, JsonRejects
from issuer.cli.rows import STATUSES, RowKind
from issuer.cli.second_person import show_outcome, wait_for_approval
from issuer.cli.session import Session, explain
from issuer.cli.survey import Survey, count_lines, sha256_of, survey
from issuer.v1 import access_pb2
from issuer.v1 import admin_pb2 as pb
from verifier.wire.status_record import Colour

# A frozen issuer is noticed by then; one that works needs well under a second for a batch.
_MIN_ANSWER_TIMEOUT_S = 60.0


class ImportCommand:
    """One import, from the plan to the summary."""

    def __init__(self, session: Session, kind: RowKind, path: Path, options: ImportOptions) -> None:
        self._session = session
        self._kind = kind
        self._path = path
        self._options = options
        self._is_json_lines = options.file_format == "jsonl" if options.file_format else is_json_lines(path)
        suffix = "jsonl" if self._is_json_lines else "csv"
        self._rejects = options.rejects or path.with_name(f"{path.name}.rejects.{suffix}")
        self._progress_path = path.with_name(f"{path.name}.progress")

    def run(self, *, apply: bool) -> None:
        """Carry it out; ends the command with the exit code of an import. Raises UnusableFile."""
        # 1. The file is one that can be imported, and nobody else imports it.
        with contextlib.closing(self._open()) as file:
            identity = FileIdentity.of(self._path)
            if not apply:
                self._tell_plan(file, identity)
                return
            with _only_one(file, self._path):
                # 2. An earlier run is gone on with; a new one is asked about.
                checkpoint = self._earlier(identity)
                if checkpoint is None:
                    self._require_free_results()
                    checkpoint = self._begin(file, identity)
                else:
                    click.echo(f"goes on behind line {checkpoint.line}", err=True)
                # 3. The rows go in.
                self._run(file, identity, checkpoint)

    def _open(self) -> ImportFile:
        return ImportFile(
            self._path, self._kind.columns, is_json=self._is_json_lines, encoding=self._options.encoding
        )

    def _tell_plan(self, file: ImportFile, identity: FileIdentity) -> None:
        if earlier := self._earlier(identity):
            self._session.is_agreed(f"go on with {self._path} behind line {earlier.line}", apply=False)
            return
        found = self._survey(file, identity)
        for one in found.first_unread:
            click.echo(f"line {one.line}: {one.reason}", err=True)
        if found.unread:
            click.echo(f"{found.unread} rows cannot be read", err=True)
        if not found.rows:
            raise UnusableFile(f"{self._path} has no row that can be read: nothing would be done")
        self._session.is_agreed(self._plan(found), apply=False)
        if found.unread:
            raise click.exceptions.Exit(EXIT_REFUSED)

    def _plan(self, found: Survey) -> str:
        plan = f"import {found.rows} {self._kind.name}s from {self._path}"
        if not self._asks_consent:
            return plan
        by_colour = ", ".join(f"{count} {colour.name}" for colour, count in found.colours.items())
        red = "; a second person has to approve the reds" if found.colours[Colour.RED] else ""
        return f"{plan}: {by_colour}{red}"

    @property
    def _asks_consent(self) -> bool:
        return self._kind is STATUSES

    def _survey(self, file: ImportFile, identity: FileIdentity) -> Survey:
        with ProgressDisplay("reading", identity.size, is_quiet=self._session.is_json) as progress:
            return survey(file, self._kind, on_progress=progress.show)

    def _earlier(self, identity: FileIdentity) -> Checkpoint | None:
        if self._options.restart:
            return None
        found = load_checkpoint(self._progress_path, identity)
        if found is None:
            return None
        now = (self._kind.method, self._session.server, self._options.encoding, self._is_json_lines)
        then = (found.method, found.server, found.encoding, found.is_json)
        if now != then:
            raise UnusableFile(
                f"an earlier import of {self._path} stopped at line {found.line}, and was another one "
                f"({found.method} to {found.server}): repeat that command, or begin anew with --restart"
            )
        return found

    def _require_free_results(self) -> None:
        """Keep what an earlier import left: a clerk may have begun to mend it."""
        for path, option in ((self._rejects, "--rejects"), (self._options.output, "--output")):
            if path is None:
                continue
            if path.exists() and not self._options.restart:
                raise UnusableFile(
                    f"{path} is there from an earlier import: move it away, name another file with {option}, "
                    "or write it anew with --restart"
                )

    def _begin(self, file: ImportFile, identity: FileIdentity) -> Checkpoint:
        checkpoint = Checkpoint(
            method=self._kind.method,
            server=self._session.server,
            encoding=self._options.encoding,
            is_json=self._is_json_lines,
            approval_id=0,
            offset=file.place.offset,
            line=file.place.line,
        )
        if not self._asks_consent:
            size = f"{identity.size / 1e6:.1f} MB" if identity.size >= 100_000 else f"{identity.size} bytes"
            about = f"about {count_lines(self._path)} rows ({size})"
            self._confirm(f"Import {about} of {self._kind.name}s from {self._path}?")
            return checkpoint
        return self._with_consent(checkpoint, file, identity)

    def _with_consent(self, checkpoint: Checkpoint, file: ImportFile, identity: FileIdentity) -> Checkpoint:
        """Ask for a second person's consent to the whole file; ends the command while it waits."""
        found = self._survey(file, identity)
        if not found.rows:
            raise UnusableFile(f"{self._path} has no row that can be read: nothing was done")
        session = self._session
        if not session.is_json:
            click.echo(self._plan(found), err=True)
        request = pb.RequestStatusImportRequest(
            file_sha256=sha256_of(self._path),
            file_name=self._path.name[:128],
            green=found.colours[Colour.GREEN],
            yellow=found.colours[Colour.YELLOW],
            red=found.colours[Colour.RED],
            batch_sha256=found.batch_sha256,
        )
        self._confirm(f"Import {found.rows} status changes from {self._path}?")
        answer = session.ask(session.client.admin.RequestStatusImport, request)
        if answer.approval_id and not answer.is_approved:
            approval = wait_for_approval(
                session,
                answer.approval_id,
                wait_s=self._options.wait_s,
                then="Then repeat this command.",
            )
            if approval.state != access_pb2.APPROVAL_STATE_APPROVED:
                show_outcome(session, approval)
        return replace(checkpoint, approval_id=answer.approval_id)

    def _confirm(self, question: str) -> None:
        confirm(question, is_sure=self._options.yes, exit_code=EXIT_NOTHING_DONE)

    def _run(self, file: ImportFile, identity: FileIdentity, checkpoint: Checkpoint) -> None:
        file.go_to(checkpoint.place)
        began = time.monotonic()
        before = checkpoint.counts.rows
        is_quiet = self._session.is_json
        with ProgressDisplay(f"importing {self._kind.name}s", identity.size, is_quiet=is_quiet) as progress:

            def show(now: Checkpoint) -> None:
                rate = (now.counts.rows - before) / max(time.monotonic() - began, 1e-3)
                rejected = f", {now.counts.rejected} rejected" if now.counts.rejected else ""
                progress.show(now.offset, f"{now.counts.rows} rows{rejected}, {rate:.0f}/s")

            def say_retry(error: Exception, wait_s: float) -> None:
                what = "did not answer" if isinstance(error, NoBatchAnswer) else "is gone"
                progress.say(f"the issuer {what}: tries again in {wait_s:g} s")

            try:
                running = self._import(file, identity, checkpoint, show, say_retry)
            except OSError as error:
                raise UnusableFile(
                    f"{error.filename} cannot be written: {error.strerror}. Copy the file to a folder of "
                    "your own, and import it from there"
                ) from None
            with self._explained(running):
                outcome = running.run()
        remove_checkpoint(self._progress_path)
        self._summarise(outcome, time.monotonic() - began, before)

    def _import(
        self,
        file: ImportFile,
        identity: FileIdentity,
        checkpoint: Checkpoint,
        on_progress: Callable[[Checkpoint], None],
        on_retry: Callable[[Exception, float], None],
    ) -> Import:
        # The checkpoint comes first, so that results without one are from an import that came to its end.
        checkpoint.save(self._progress_path, identity)
        size = checkpoint.rejects_size
        rejects: CsvRejects | JsonRejects
        if self._is_json_lines:
            rejects = JsonRejects(self._rejects, size=size, encoding=self._options.encoding)
        else:
            rejects = CsvRejects(self._rejects, size=size, header=file.header)
        output = self._options.output
        return Import(
            kind=self._kind,
            file=file,
            call=getattr(self._session.client.admin, self._kind.method),
            checkpoint=checkpoint,
            checkpoint_path=self._progress_path,
            identity=identity,
            rejects=rejects,
            issued=None if output is None else IssuedFile(output, size=checkpoint.output_size),
            timeout_s=max(self._session.timeout_s, _MIN_ANSWER_TIMEOUT_S),
            on_progress=on_progress,
            on_retry=on_retry,
        )

    @contextlib.contextmanager
    def _explained(self, running: Import) -> Iterator[None]:
        """Say how to go on, however the import was stopped."""
        try:
            yield
        except KeyboardInterrupt:
            click.echo(f"\n{self._how_to_go_on(running)}", err=True)
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None
        except grpc.RpcError as error:
            then = f" {self._how_to_go_on(running)}"
            raise explain(error, self._session.server, then=then) from None
        except NoBatchAnswer:
            server, then = self._session.server, self._how_to_go_on(running)
            raise NoAnswer(f"the issuer at {server} does not answer. {then}") from None
        except OSError as error:
            raise Refused(
                f"{error.filename or 'a result file'} cannot be written: {error.strerror}. Make room, or "
                f"name another file. {self._how_to_go_on(running)}"
            ) from None

    def _how_to_go_on(self, running: Import) -> str:
        if running.is_untouched:
            # There is nothing to go on with, and the file may have to be another one.
            remove_checkpoint(self._progress_path)
            return "Nothing of the file went in: repeat the command."
        line = running.checkpoint.line
        return f"Stopped behind line {line} of {self._path}: repeat the command to go on there."

    def _summarise(self, outcome: Outcome, seconds: float, before: int) -> None:
        counts = outcome.checkpoint.counts
        output = self._options.output
        has_output = output is not None and outcome.checkpoint.output_size
        self._session.show_done(
            {
                "rows": counts.rows,
                "entered": counts.entered,
                "known_before": counts.known,
                "rejected": counts.rejected,
                **({"rejects": str(self._rejects)} if counts.rejected else {}),
                **({"output": str(output)} if has_output else {}),
                "seconds": round(seconds, 1),
                "rows_a_second": round((counts.rows - before) / max(seconds, 1e-3)),
            },
            outcome.publication,
        )
        if counts.rejected:
            if not self._session.is_json:
                click.echo(
                    f"Mend the rows in {self._rejects} and import that file: the rows that went in stay as "
                    "they are. It holds personal data: remove it when you are done.",
                    err=True,
                )
            is_any_in = counts.entered + counts.known
            raise click.exceptions.Exit(EXIT_REFUSED if is_any_in else EXIT_NOTHING_DONE)


@contextlib.contextmanager
def _only_one(file: ImportFile, path: Path) -> Iterator[None]:
    """Hold the file for one import; the kernel lets go of it however the process ends."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableFile(f"another import of {path} is under way: wait for its end, or stop it") from None
    except OSError:
        pass  # a file system without locks
    yield
