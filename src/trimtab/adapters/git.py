"""The git executable, held short: no shell, no terminal, no configuration but ours, a bound on its time.

Credentials reach it through GIT_ASKPASS and its environment, or a key file for ssh: never in an address, an argument
or a message. Hooks of the machine do not run, and only plain protocols are spoken.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from trimtab.errors import DeliveryFailed, Refused

_PROTOCOLS = "file:git:http:https:ssh"
_SILENT_TIMES = 3  # the time that was waited in vain is the time that nobody asks, so many times over
_ASKPASS = """#!/bin/sh
case "$1" in
  Username*) printf '%s\\n' "$TRIMTAB_GIT_USERNAME" ;;
  *) printf '%s\\n' "$TRIMTAB_GIT_PASSWORD" ;;
esac
"""
_DENIED = re.compile(
    r"authentication failed|could not read (username|password)|permission denied|error: 40[13]|access denied|"
    r"host key verification failed|not allowed|protected branch|pre-receive hook declined",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class Credentials:
    """Who writes. `url`: what an address must begin with for them to be sent there."""

    url: str = ""
    username: str = "trimtab"
    password: str = field(default="", repr=False)
    key_file: Path | None = None
    known_hosts: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> Credentials:
        """Out of a folder with a file a key, as a Secret is mounted; raises Refused for one that says no `url`."""
        url = _line(folder / "url")
        if not url:
            raise Refused(
                f"{folder} holds no `url`: credentials are sent only to addresses that begin with it. Add the key url, "
                "as in a repository secret of Argo CD"
            )
        key, hosts = folder / "sshPrivateKey", folder / "known_hosts"
        return cls(
            url,
            _line(folder / "username") or "trimtab",
            _line(folder / "password"),
            key if key.is_file() else None,
            hosts if hosts.is_file() else None,
        )

    def check(self, repository: str) -> None:
        """Raise Refused for an address that they must not be sent to."""
        start = self.url.rstrip("/").removesuffix(".git")
        rest = repository.removeprefix(start)
        inside = rest in ("", ".git") or rest.startswith(("/", ".git/"))
        if self.url and (rest == repository or not inside or "/../" in f"{rest}/"):
            raise Refused(f"the credentials are for {self.url}, not for {repository}: name another `secret`")


def _line(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def plain(text: object, longest: int = 300) -> str:
    """One line without control characters, for messages: names in a repository are anybody's."""
    return _CONTROL.sub(" ", str(text)).strip()[:longest]


class Git:
    """Runs git in a bare repository of its own at `folder`."""

    def __init__(
        self,
        folder: Path,
        repository: str,
        credentials: Credentials,
        timeout_seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.repository, self._timeout_seconds = folder, repository, timeout_seconds
        self._credentials, self._clock, self._silent_until = credentials, clock, 0.0
        credentials.check(repository)
        self.host = urlsplit(repository).hostname or repository

    def run(self, *arguments: str, text: str = "", more: Mapping[str, str] | None = None) -> str:
        """What git prints; raises DeliveryFailed with what it says."""
        done = self.attempt(*arguments, text=text, more=more)
        if done.returncode:
            raise self.failed(arguments[0], done.stderr)
        return done.stdout

    def attempt(
        self, *arguments: str, text: str = "", more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it whatever comes of it; raises DeliveryFailed if it does not end in time."""
        left = self._silent_until - self._clock()
        if left > 0:  # a host that is silent must not keep the turns of other loops waiting
            raise DeliveryFailed(f"the repository at {self.host} did not answer; it is asked again in {left:.0f} s")
        command = ["git", "--git-dir", str(self.folder), *arguments]
        environment = {**self._environment(), **(more or {})}
        try:
            process = self._started(command, environment)
        except FileNotFoundError as error:
            raise DeliveryFailed(f"git cannot be started ({error}): install it where the loop runs") from None
        try:
            out, err = process.communicate(text, timeout=self._timeout_seconds)
        except subprocess.TimeoutExpired:
            self._end(process)
            self._silent_until = self._clock() + _SILENT_TIMES * self._timeout_seconds
            raise DeliveryFailed(
                f"the repository at {self.host} did not answer in {self._timeout_seconds:.0f} s (git {arguments[0]})"
            ) from None
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _started(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=self.folder.parent,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        """End git with its helpers, which hold the pipes open."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def failed(self, what: str, said: str) -> DeliveryFailed:
        """The error for what git said."""
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith("hint:")]
        reason = plain("; ".join(lines[-3:]) or "it gave no reason")
        if self._credentials.password:
            reason = reason.replace(self._credentials.password, "***")
        if _DENIED.search(said):
            return DeliveryFailed(
                f"the repository at {self.host} refuses (git {what}: {reason}). Mend the secret that "
                "`release.gitops.secret` names, or what it may do there"
            )
        return DeliveryFailed(f"the repository at {self.host} cannot be used (git {what}: {reason})")

    def _environment(self) -> dict[str, str]:
        found = {
            name: os.environ[name]
            for name in ("PATH", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
            if name in os.environ
        }
        askpass = self.folder.parent / "askpass"
        if not askpass.is_file():
            askpass.write_text(_ASKPASS, encoding="utf-8")
            askpass.chmod(0o700)
        found |= {
            "HOME": str(self.folder.parent),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_ASKPASS": str(askpass),
            "TRIMTAB_GIT_USERNAME": self._credentials.username,
            "TRIMTAB_GIT_PASSWORD": self._credentials.password,
            "GIT_SSH_COMMAND": self._ssh(),
        }
        for role in ("AUTHOR", "COMMITTER"):
            found |= {f"GIT_{role}_NAME": "trimtab", f"GIT_{role}_EMAIL": "trimtab@localhost"}
        return found

    def _ssh(self) -> str:
        command = "ssh -oBatchMode=yes -oConnectTimeout=20"
        if self._credentials.key_file is not None:
            command += f" -oIdentitiesOnly=yes -i '{self._credentials.key_file}'"
        if self._credentials.known_hosts is not None:
            command += f" -oUserKnownHostsFile='{self._credentials.known_hosts}'"
        return command
