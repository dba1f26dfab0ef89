"""A real PostgreSQL on 127.0.0.1, as a process of the test; it dies with `close`."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import sqlalchemy as sa

from trimtab.adapters.listening import free_port
from trimtab.testing.envoy_world import until

MISSING = "no PostgreSQL server here: apt-get install postgresql (.ci/setup does it as root)"
PASSWORD = "p%40ss-w0rd/?#"  # noqa: S105 - as odd as one may be; it must be in no message


def _binaries() -> Path | None:
    """Debian keeps the server's programs off PATH, a folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


BINARIES = _binaries()


class PostgresServer:
    """Durable only as far as its processes go (fsync is off), which is all that tests kill."""

    def __init__(self) -> None:
        assert BINARIES is not None
        # PostgreSQL refuses to run as root, and may not look into pytest's folders as another user.
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="trimtab-postgres-"))
        self.port = free_port()
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        if self._user is not None:
            for path in (self.folder, secret):
                os.chown(path, pwd.getpwnam(self._user).pw_uid, -1)
        self._run("initdb", "--username=owner", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync")
        self.start()

    def url(self, database: str = "postgres", password: str = PASSWORD, user: str = "owner") -> str:
        """As SQLAlchemy takes it."""
        made = sa.URL.create("postgresql", user, password, "127.0.0.1", self.port, database)
        return made.render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it, on the data that is there; returns once it answers."""
        options = f"-c fsync=off -c max_connections=40 -c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder}"
        self._run("pg_ctl", "start", "--wait", f"--log={self.folder / 'server.log'}", "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` rolls back what is under way, `immediate` is a crash."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def kill(self) -> None:
        """kill -9 the server; its other processes notice and end."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists())

    def admin(self, statement: str, database: str = "postgres") -> object:
        """Run one statement beside everything else; its first value."""
        engine = sa.create_engine(
            sa.make_url(self.url(database)).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        try:
            with engine.connect() as connection:
                result = connection.exec_driver_sql(statement)
                return result.scalar() if result.returns_rows else None
        finally:
            engine.dispose()

    def close(self) -> None:
        """Crash it and take its data away."""
        pid_file = self.folder / "data" / "postmaster.pid"
        if pid_file.exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *options: str) -> None:
        assert BINARIES is not None
        command = [str(BINARIES / program), *options, f"--pgdata={self.folder / 'data'}"]
        done = subprocess.run(
            command,
            user=self._user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "programs.log").open("ab"),  # a pipe would stay open as long as the server runs
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (self.folder / "programs.log").read_text()
