"""Everything that a Gatelight does, with marked people, and everything that it leaves behind."""

import contextlib
import csv
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import redis
from click.testing import CliRunner

from issuer.cli import main as issuer_cli
from issuer.key_file import Purpose, read_key_file
from loadtest.canary.failing import FAILING_SCAN_ID, site
from loadtest.canary.listening import Collector, RedisMonitor
from loadtest.canary.needles import Kind, Needles
from loadtest.canary.people import ERASED, IMPORTED, KEPT, REFUSED, Marked, add_people
from loadtest.canary.places import Places
from loadtest.embedded_redis import EmbeddedRedis, free_port
from loadtest.processes import ProcessError, ServerProcess
from loadtest.stage import Stage, wait_until_serving
from verifier.client import NoAnswer, NotAdmitted, Scan, VerifierClient, VerifierClientError
from verifier.verdict import Verdict

_AUTHORITY = "city health office"
_WAIT_S = 20.0
_LOOK_S = 0.02

REGISTER = "the register"
BACKUP = "a backup of the register"
FILES = "files that people import"
REJECTS = "rows refused by an import"
KEY_FILES = "key files"
REVEALED = "commands asked to reveal"
COMMANDS = "all other commands"
CARDS = "cards and pictures of codes"
BUNDLES = "bundles for phones"
ANSWERS = "answers to gates"


class CanaryStage(Stage):
    """A stage whose passphrase is in a file, as it is to be, and whose processes have a temporary folder."""

    @property
    def passphrase(self) -> str:
        """What is in the file."""
        return super().environment["GATELIGHT_PASSPHRASE"]

    @property
    def environment(self) -> Mapping[str, str]:
        """As of any stage, but for the passphrase."""
        (self.path / "tmp").mkdir(exist_ok=True)
        file = self.path / "passphrase"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(self.passphrase)
        usual = {name: value for name, value in super().environment.items() if name != "GATELIGHT_PASSPHRASE"}
        return usual | {"GATELIGHT_PASSPHRASE_FILE": str(file), "TMPDIR": str(self.path / "tmp")}


class Play:
    """One run."""

    def __init__(self, stage: CanaryStage, needles: Needles, places: Places, *, is_short: bool) -> None:
        """`is_short` leaves out what costs most: a second look, a second way to die."""
        self._stage = stage
        self._needles = needles
        self._places = places
        self._is_short = is_short
        self._folder = stage.path
        self._ran = 0
        self._failing = self._folder / "failing"
        self._failing.mkdir()
        (self._failing / "sitecustomize.py").write_text(site())
        if not isinstance(stage.redis, EmbeddedRedis):
            raise ProcessError("a Redis of its own is needed, to be killed")
        self._redis = stage.redis
        self._monitor = RedisMonitor(self._redis.port)
        self._keys: dict[str, str] = {}  # of gates
        self._metrics: dict[str, str] = {}
        self._verifiers: list[ServerProcess] = []
        self._addresses: dict[str, str] = {}
        self._ever_read: set[Path] = set()
        add_people(needles)
        needles.add(Kind.PASSPHRASE, stage.passphrase)
        self._allow()

    def _allow(self) -> None:
        allow = self._places.allow
        people = (Kind.NAME, Kind.MASKED, Kind.REGION)
        allow(REGISTER, "names and regions are kept here, and nowhere else", *people)
        allow(BACKUP, "a copy of the register, from before the erasure", *people, Kind.ERASED)
        allow(FILES, "what is imported", *people, Kind.DOCUMENT)
        allow(REJECTS, "whole rows, to be mended", *people, Kind.DOCUMENT)
        allow(KEY_FILES, "for the one whose key it is", Kind.BEARER_KEY)
        allow(REVEALED, "holder show --reveal, code show --json", *people, Kind.CODE)
        allow(COMMANDS, "staff compare a person with an entry", Kind.MASKED, Kind.REGION)
        allow(CARDS, "what is printed", Kind.CODE, Kind.MASKED)
        allow(BUNDLES, "phones show them", Kind.CODE, Kind.MASKED)
        allow(ANSWERS, "gates compare a person with a card", Kind.MASKED)

    # The issuer

    def staff_work(self) -> None:
        """Enrol, issue, decide, make gates."""
        self._command("group", "add", "stations", "--one-entry", "--apply")
        for gate in ("north", "south"):
            key_file = self._folder / f"{gate}.key"
            group = ("group", "add", f"plain-{gate}", "--apply")
            self._command(*group)
            self._command("gate", "add", gate, "--group", f"plain-{gate}", "--key-to", key_file, "--apply")
            self._keys[gate] = key_file.read_text().strip()
        self._enrol(KEPT, 1)
        self._command("holder", "list")
        self._command("holder", "list", "--region", KEPT.region, "--json")
        self._enrol(ERASED, 2)
        self._import_people()
        self._command("credential", "issue", 3, "PHONE", "--apply")
        self._command("status", "set", 3, "RED", "--reason", 12, "--authority", _AUTHORITY, "--apply")
        self._command("approval", "list")
        self._command("approval", "show", 1)
        self._command("approval", "approve", 1, "--apply", as_approver=True)
        self._command("holder", "show", 1)
        self._command("holder", "show", 1, "--reveal", place=REVEALED)
        self._command("status", "history", 1)
        # What is wrong is refused, without a word of it.
        self._command("holder", "add", "--name", KEPT.name, *_document(KEPT), "--apply", code=1)
        self._command("holder", "add", "--name", f"{KEPT.name}\n", *_document(KEPT), "--apply", code=None)

    def _enrol(self, one: Marked, holder_id: int) -> None:
        person = ("--name", one.name, *_document(one), "--region", one.region)
        self._command("holder", "add", *person)  # only says what it would do
        self._command("holder", "add", *person, "--apply")
        self._command("credential", "issue", holder_id, "PAPER", "--valid-until", "+180d", "--apply")
        self._command("status", "set", holder_id, "GREEN", "--authority", _AUTHORITY, "--apply")

    def _import_people(self) -> None:
        file = self._folder / "people.csv"
        columns = ("external_id", "name", "document_type", "document_number", "region")
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(columns)
            for one in (IMPORTED, REFUSED):
                kind = "ID" if one is IMPORTED else "x" * 200
                writer.writerow((one.role, one.name, kind, one.document_number, one.region))
        self._command("holder", "import", file, "--apply", code=1)

    def cards(self, credential_index: int) -> bytes:
        """Have a code printed, shown and fetched; return it."""
        for suffix in ("svg", "png"):
            self._command(
                "code", "save", credential_index, self._folder / f"card.{suffix}", "--force", place=CARDS
            )
        self._command("code", "show", credential_index, place=CARDS)
        shown = self._command("code", "show", credential_index, "--json", place=REVEALED)
        self._command("bundle", "issue", credential_index, place=BUNDLES)
        qr_text = json.loads(shown)["qr_text"]
        return bytes(qr_text.encode())

    def endings(self) -> None:
        """Turn keys, revoke one, erase somebody, look at records, back up."""
        self._command("register", "backup", self._folder / "backup.db")
        self._command("key", "prepare", "--apply", code=None)
        self._approve_all()
        listed = self._command("key", "list", "--json")
        key_ids = [json.loads(line).get("key_id") for line in listed.splitlines()]
        self._note_private_keys()
        self._command("credential", "replace", 1, "--apply")
        self._command("holder", "erase", 2, "--apply", "--yes")
        if known := [one for one in key_ids if one]:
            self._command("key", "revoke", known[-1], "--apply", "--yes", code=None)
            self._approve_all()
        self._command("cache", "check", code=None)
        self._command("call", "list")
        self._command("client", "list")
        self._command("scan", "search", "--from", "-1h")
        self._command("scan", "stats", code=None)
        self._command("status", "verify-history", code=None)
        self._note_private_keys()

    def _approve_all(self) -> None:
        for line in self._command("approval", "list", "--json", code=None).splitlines():
            approval = json.loads(line)
            if approval.get("state") in {None, "PENDING", "WAITING"}:
                number = approval.get("approval_id")
                self._command("approval", "approve", number, "--apply", as_approver=True, code=None)

    def _note_private_keys(self) -> None:
        folder = self._stage.issuer_folder
        files = {
            folder.root_key: Purpose.ROOT,
            folder.document_hash_key: Purpose.DOCUMENT_HASH,
            **dict.fromkeys(folder.signing_keys.glob("*.key"), Purpose.SIGNING),
        }
        for path, purpose in files.items():
            if path not in self._ever_read and path.exists():
                self._ever_read.add(path)
                secret = read_key_file(path, purpose=purpose, passphrase=self._stage.passphrase.encode())
                self._needles.add(Kind.PRIVATE_KEY, secret)

    # The gates

    def gates_work(self, engine: str, card: bytes, trace: Collector | None) -> None:
        """Scan in every way, well and badly, and break things."""
        name = f"verifier-{engine}"
        verifier = self._start_verifier(name, engine, trace)
        address = self._addresses[name]
        with (
            VerifierClient(address, gate_id="north", bearer_key=self._keys["north"]) as gate,
            VerifierClient(address, gate_id="north", bearer_key=self._keys["south"]) as wrong_gate,
        ):
            self._wait_until(lambda: self._verdict(gate, card) is Verdict.GREEN, "the card is green")
            self._ask(gate, card)
            altered = card[:-1] + (b"0" if card[-1:] != b"0" else b"1")
            for qr_text in (card, altered, KEPT.document_number.encode(), KEPT.name.encode(), b""):
                self._keep_answer(gate, qr_text)
            self._refused(lambda: wrong_gate.verify(card))
            self._refused(lambda: gate.verify(card, scan_id=FAILING_SCAN_ID))
            self._refused(lambda: gate.verify_many([Scan(card, scan_id=f"{FAILING_SCAN_ID}-2")]))
            self._broken(address, card)
            self._look(name)
            self._redis_away(gate, card)
            self._kill_a_worker(verifier, gate, card)
            if not self._is_short:
                self._look(name)
        if "scan failed" not in verifier.log.read_text(errors="replace"):
            raise ProcessError("no scan failed inside the verifier, which was meant to")
        self._places.add_processes("processes: titles, arguments, environments", self._pids())
        verifier.send(signal.SIGKILL)
        verifier.wait(_WAIT_S)

    def _start_verifier(self, name: str, engine: str, trace: Collector | None) -> ServerProcess:
        port_file = self._folder / f"{name}.port"
        self._metrics[name] = f"127.0.0.1:{free_port()}"
        environment = {
            "TMPDIR": str(self._folder / "tmp"),
            "PYTHONPATH": str(self._failing),
            "PYTHONFAULTHANDLER": "1",
        }
        tracing = ("--trace-endpoint", trace.url, "--trace-ratio", "1") if trace is not None else ()
        verifier = ServerProcess(
            name,
            [
                *(sys.executable, "-m", "verifier", "serve", "--listen", "127.0.0.1:0", "--workers", "1"),
                *("--root-key", str(self._stage.issuer_folder.root_public_key), "--engine", engine),
                *("--redis-url", self._redis.url, "--port-file", str(port_file), "--gate-auth", "key"),
                *("--journal", str(self._folder / f"{name}.journal"), "--mirror-capacity", "65536"),
                *("--metrics-listen", self._metrics[name], *tracing),
            ],
            folder=self._folder,
            environment=environment,
        )
        self._verifiers.append(verifier)
        self._addresses[name] = f"127.0.0.1:{verifier.wait_for_file(port_file)}"
        wait_until_serving(self._addresses[name], verifier)
        return verifier

    def _ask(self, gate: VerifierClient, card: bytes) -> None:
        self._keep_answer(gate, card)
        answers = gate.verify_many([Scan(card, scan_id="batch-1"), Scan(KEPT.document_number.encode())])
        self._places.add(ANSWERS, repr(answers))
        self._places.add(ANSWERS, repr(list(gate.stream([card, Scan(KEPT.name.encode())]))))

    def _keep_answer(self, gate: VerifierClient, qr_text: bytes) -> None:
        answer = gate.verify(qr_text)
        self._places.add(ANSWERS, repr(answer))

    def _refused(self, call: Callable[[], object]) -> None:
        try:
            call()
        except VerifierClientError as error:
            self._places.add("errors to gates", str(error) + repr(error))
        else:
            raise ProcessError("a call that must be refused was not")

    def _broken(self, address: str, card: bytes) -> None:
        """Bytes that are no call, with secrets in them."""
        host, _, port = address.rpartition(":")
        request = (
            b"POST /" + card[:40] + b" HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
            + self._keys["north"].encode() + b"\r\n\r\n" + card
        )  # fmt: skip
        for content in (request, card, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + card):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1) as peer:
                peer.sendall(content)
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(0.2)
                self._places.add("errors to gates", peer.recv(1 << 16))

    def _redis_away(self, gate: VerifierClient, card: bytes) -> None:
        self._leave_redis()
        self._redis.kill()
        for _ in range(3):
            self._keep_answer(gate, card)
        self._redis.restart()
        self._monitor = RedisMonitor(self._redis.port)
        self._wait_until(self._is_rebuilt, "Redis is written anew")

    def _is_rebuilt(self) -> bool:
        with redis.Redis(port=self._redis.port) as client, contextlib.suppress(redis.RedisError):
            return bool(client.exists("gatelight:key_set", "gatelight:{0}:epoch") == 2)
        return False

    def _kill_a_worker(self, verifier: ServerProcess, gate: VerifierClient, card: bytes) -> None:
        for number in (signal.SIGSEGV,) if self._is_short else (signal.SIGSEGV, signal.SIGKILL):
            old = psutil.Process(verifier.pid).children()
            os.kill(old[0].pid, number)
            self._wait_until(lambda old=old: old[0] not in psutil.Process(verifier.pid).children(), "it died")  # type: ignore[misc]
            self._wait_until(lambda: self._verdict(gate, card) is Verdict.GREEN, "a new worker answers")

    def _verdict(self, gate: VerifierClient, qr_text: bytes) -> Verdict | None:
        try:
            return gate.verify(qr_text).verdict
        except (NoAnswer, NotAdmitted):
            return None

    def _look(self, name: str) -> None:
        self._places.add("metrics", _fetch(self._metrics[name]))
        for more in ((),) if self._is_short else ((), ("--json",)):
            command = [sys.executable, "-m", "verifier", "status", "--metrics", self._metrics[name], *more]
            done = subprocess.run(command, capture_output=True, check=False, timeout=_WAIT_S)
            self._places.add("the status command", done.stdout + done.stderr)

    # What is left

    def archive(self) -> ServerProcess:
        """Start the archive."""
        metrics = f"127.0.0.1:{free_port()}"
        self._metrics["archive"] = metrics
        command = [sys.executable, "-m", "issuer", "archive", "--metrics-listen", metrics]
        return ServerProcess("archive", command, folder=self._folder, environment=self._stage.environment)

    def wait_until_archived(self) -> None:
        """Return when scans are in the register."""

        def is_there() -> bool:
            return bool(self._command("scan", "search", "--from", "-1h", "--limit", "1", "--json").strip())

        self._wait_until(is_there, "scans are in the register")

    def collect(self, issuer_metrics: str, archive: ServerProcess) -> None:
        """Look at everything while it runs."""
        self._places.add("metrics", _fetch(issuer_metrics))
        self._places.add("metrics", _fetch(self._metrics["archive"]))
        self._places.add_processes("processes: titles, arguments, environments", [*self._pids(), archive.pid])
        self._places.add_files("temporary files", [self._folder / "tmp"])
        self._leave_redis()

    def collect_what_stays(self, trace: Collector | None) -> None:
        """Look at everything that lies there when all has ended."""
        places, folder, issuer = self._places, self._folder, self._stage.issuer_folder
        register = [issuer.path / f"register.db{end}" for end in ("", "-wal", "-shm", "-journal")]
        places.add_files(REGISTER, [path for path in register if path.exists()])
        places.add_files(BACKUP, [folder / "backup.db"])
        places.add_files(FILES, [folder / "people.csv"])
        places.add_files(REJECTS, folder.glob("people.csv.rejects*"))
        keys = [issuer.local_client_key, issuer.approver_client_key, *folder.glob("*.key")]
        places.add_files(KEY_FILES, keys)
        wrapped = [issuer.root_key, issuer.document_hash_key, *issuer.signing_keys.glob("*.key")]
        places.add_files("private keys, wrapped", wrapped)
        pictures = [folder / "card.svg", folder / "card.png"]
        places.add_files(CARDS, pictures)
        logs = sorted(folder.glob("*.log"))
        places.add_files("logs", logs)
        journals = sorted(folder.glob("*.journal"))
        places.add_files("journals and kept state", journals)
        places.add("crash output", b"")
        places.add_files("crash output", [*folder.rglob("core*"), *Path.cwd().glob("core*")])
        known = {*register, *keys, *wrapped, *pictures, *logs, folder / "backup.db", folder / "people.csv"}
        known |= {*folder.glob("people.csv.rejects*"), folder / "passphrase"}
        places.add_files("temporary files", [folder / "tmp"])
        places.add_files("all other files", [folder], but=[*known, *journals, folder / "tmp"])
        if trace is not None:
            places.add("traces", b"\n".join(trace.heard))
        for key in (*self._keys.values(), *(path.read_text().strip() for path in keys)):
            self._needles.add(Kind.BEARER_KEY, key)

    def _leave_redis(self) -> None:
        """Keep all that Redis holds, and all that it was told."""
        with redis.Redis(port=self._redis.port) as client:
            client.config_set("rdbcompression", "no")
            for key in client.scan_iter("*"):
                self._places.add("Redis: values", key + b"\n" + (client.dump(key) or b""), key.decode())
            for key in client.scan_iter("*", _type="stream"):
                entries = client.xrange(key)
                values = [value for _, fields in entries for value in fields.values()]
                self._places.add("Redis: values", b"".join(values))
            client.save()
        self._places.add_files("Redis: dump on the disk", self._folder.glob("dump.rdb"))
        self._places.add("Redis: commands", self._monitor.close())

    def _pids(self) -> Sequence[int]:
        issuer = self._stage.issuer
        return [*(one.pid for one in self._verifiers if one.is_running()), *([issuer.pid] if issuer else [])]

    def _command(
        self, *arguments: object, place: str = COMMANDS, code: int | None = 0, as_approver: bool = False
    ) -> str:
        given = [str(one) for one in arguments]
        if as_approver:
            given += ["--key-file", str(self._stage.issuer_folder.approver_client_key)]
        done = CliRunner().invoke(issuer_cli, given, env=dict(self._stage.environment))
        self._places.add(place, done.output, " ".join(given[:2]))
        if code is not None and done.exit_code not in {code, 4}:
            raise ProcessError(f"{' '.join(given[:2])} ended with {done.exit_code}:\n{done.output}")
        self._ran += 1
        return done.stdout

    def _wait_until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _WAIT_S
        while not holds():
            if time.monotonic() > deadline:
                raise ProcessError(f"it did not come to be that {what}")
            time.sleep(_LOOK_S)


def can_trace() -> bool:
    """Tell whether traces can be sent here."""
    return importlib.util.find_spec("opentelemetry") is not None


def _document(one: Marked) -> tuple[str, ...]:
    return ("--document-type", "ID", "--document-number", one.document_number)


def _fetch(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_WAIT_S) as answer:
        content: bytes = answer.read()
    return content
