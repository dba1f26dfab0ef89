"""Addresses and ports of this machine."""

from __future__ import annotations

import errno
import socket

from trimtab.errors import TrimtabError


def free_port(host: str = "127.0.0.1", avoid: frozenset[int] = frozenset()) -> int:
    """A port that nobody listens on just now and that is not one of `avoid`."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
            if port not in avoid:
                return port
    raise TrimtabError(f"found no free port on {host} in 100 tries. Stop programs that hold many ports")


def is_free(host: str, port: int) -> bool:
    """Whether one could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def resolve(host: str) -> str:
    """The first IP address of a host name; raises TrimtabError if it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TrimtabError(f"serving.host {host!r} is no address of this machine: {error}. Use 127.0.0.1") from error
    return str(found[0][4][0])


def refuse_taken(host: str, ip: str, port: int) -> None:
    """Raise TrimtabError, with what to do, if nobody can listen on the port now; 0 is never taken."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            why = (
                "is taken by another program"
                if error.errno == errno.EADDRINUSE
                else f"cannot be used: {error.strerror}"
            )
            raise TrimtabError(
                f"port {port} on {host} {why}. Stop that program, or set serving.port in loop.yaml to another port "
                "(0 picks a free one)"
            ) from error
