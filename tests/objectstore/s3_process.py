"""A real S3 HTTP server (moto's) on 127.0.0.1 as a process, behind a gate that can be shut: the store is down."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import boto3

from trimtab.adapters.listening import free_port
from trimtab.testing.envoy_world import until

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-store", "AWS_REGION": "us-east-1"}


class Gate:
    """Forwards connections while it is open; shut, it refuses new ones and cuts those under way."""

    def __init__(self, to: int) -> None:
        self._to, self.port = to, free_port()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Let everybody in."""
        listening = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def shut(self) -> None:
        """Refuse and cut."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        with self._lock:
            cut, self._sockets = self._sockets, set()
        for one in cut:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            with self._lock:
                self._sockets |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)
        source.close()


class S3Server:
    """`environment` is what a program needs to reach it."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        with (folder / "s3.log").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
                stdout=output,
                stderr=output,
            )
        until(self._is_ready)
        self.gate = Gate(self._port)
        self.environment = {
            **KEYS,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.gate.port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }

    def _is_ready(self) -> bool:
        assert self._process.poll() is None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/moto-api/data.json", timeout=2) as answer:
                return isinstance(json.load(answer), dict)
        except OSError:
            return False

    def make_bucket(self, name: str) -> None:
        """Beside the gate."""
        self._client().create_bucket(Bucket=name)

    def delete(self, name: str) -> None:
        """Delete an object, named with its bucket."""
        bucket, _, key = name.partition("/")
        self._client().delete_object(Bucket=bucket, Key=key)

    def put(self, name: str, content: bytes) -> None:
        """Store an object, named with its bucket."""
        bucket, _, key = name.partition("/")
        self._client().put_object(Bucket=bucket, Key=key, Body=content)

    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=KEYS["AWS_REGION"],
        )

    def close(self) -> None:
        """End both."""
        self.gate.shut()
        self._process.kill()
        self._process.wait()
