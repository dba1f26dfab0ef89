"""Repositories that refuse, are silent, away or broken; writers that were killed; credentials that must not show."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from deliveries import ALONE, FILE, step, uri, why

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.adapters.git import Credentials, Git
from trimtab.errors import DeliveryFailed, Refused
from trimtab.spec.release import GitOps
from trimtab.testing.envoy_world import until
from trimtab.testing.git_http import GitHttp
from trimtab.testing.git_places import Place

Writer = Callable[..., GitDelivery]


def _secret(folder: Path, url: str, password: str) -> Credentials:
    folder.mkdir()
    for name, value in (("url", url), ("username", "loop"), ("password", password)):
        (folder / name).write_text(f"{value}\n")
    return Credentials.read(folder)


def test_over_http_with_a_password_that_shows_nowhere(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real, seen = shutil.which("git"), tmp_path / "arguments"
    spy = tmp_path / "bin" / "git"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {seen}\nexec {real} "$@"\n')
    spy.chmod(0o755)
    http = GitHttp(place.path, "loop:hunter2")
    try:
        monkeypatch.setenv("PATH", f"{spy.parent}:{os.environ['PATH']}")
        right = _secret(tmp_path / "right", http.url, "hunter2")
        git = GitDelivery(tmp_path / "cache", "orders", GitOps(repository=http.url), right, uri)
        git.deliver(step(5), git.deliver(ALONE, "", why()).known, why())
        wrong = _secret(tmp_path / "wrong", http.url, "hunter3")
        git = GitDelivery(tmp_path / "other", "orders", GitOps(repository=http.url), wrong, uri)
        with pytest.raises(DeliveryFailed, match=r"refuses .*Mend the secret") as error:
            git.deliver(ALONE, "", why())
    finally:
        http.stop()
    assert "trafficPercent: 5" in place.read(FILE)
    caches = [
        path.read_bytes() for name in ("cache", "other") for path in (tmp_path / name).rglob("*") if path.is_file()
    ]
    out = capfd.readouterr()
    shown = [seen.read_text(), str(error.value), repr(right), out.out, out.err, place.message()]
    assert not [text for text in shown if "hunter" in text]
    assert not [text for text in caches if b"hunter" in text]


def test_credentials_go_only_where_they_belong(tmp_path: Path) -> None:
    mine = _secret(tmp_path / "s", "https://git.example/acme/", "x")
    for url in ("https://git.example/acme/releases.git", "https://git.example/acme"):
        Git(tmp_path / "a", url, mine)
    up = "https://git.example/acme/../other"
    for url in ("https://evil.example/acme", "https://git.example/acme-evil/x", "http://git.example/acme/x", up):
        with pytest.raises(Refused, match="name another `secret`"):
            Git(tmp_path / "a", url, mine)
    whole = Credentials("https://git.example")
    whole.check("https://git.example/acme/x.git")
    for url in ("https://git.example.evil.org/x", "https://git.example@evil.org/x", "https://git.example:444/x"):
        with pytest.raises(Refused):
            whole.check(url)
    (tmp_path / "s" / "url").unlink()
    with pytest.raises(Refused, match="holds no `url`"):
        Credentials.read(tmp_path / "s")


def test_a_repository_that_is_away_is_said_and_used_again_once_back(place: Place, writer: Writer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["git", "daemon", f"--base-path={place.folder}", "--export-all", "--enable=receive-pack", "--reuseaddr"]
    git = writer(f"git://127.0.0.1:{port}/origin.git")
    with pytest.raises(DeliveryFailed, match=r"repository at 127\.0\.0\.1 cannot be used \(git fetch: .*refused"):
        git.deliver(ALONE, "", why())
    daemon = subprocess.Popen([*command, f"--port={port}", "--listen=127.0.0.1"], start_new_session=True)
    try:
        until(lambda: _answers(port))
        known = git.deliver(ALONE, "", why()).known
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
    assert "version: '1'" in place.read(FILE)
    with pytest.raises(DeliveryFailed):
        git.deliver(step(5), known, why())


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_repository_that_is_silent_is_given_up_with_all_of_git(place: Place, writer: Writer) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        git = writer(f"http://127.0.0.1:{mute.getsockname()[1]}/r", timeout_seconds=0.5)
        now = [100.0]
        git._repository._git._clock = lambda: now[0]
        with pytest.raises(DeliveryFailed, match=r"did not answer in 0 s \(git fetch\)"):
            git.deliver(ALONE, "", why())
        with pytest.raises(DeliveryFailed, match="it is asked again in 2 s"):
            git.deliver(ALONE, "", why())
        now[0] += 1.6
        with pytest.raises(DeliveryFailed, match=r"did not answer in 0 s \(git fetch\)"):
            git.deliver(ALONE, "", why())


def test_what_a_hook_refuses_is_told_in_its_words(place: Place, writer: Writer) -> None:
    hook = place.path / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is a protected branch' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(DeliveryFailed, match=r"refuses \(git push: .*protected branch"):
        writer().deliver(ALONE, "", why())
    hook.unlink()
    writer().deliver(ALONE, "", why())


def test_what_a_killed_git_leaves_behind_is_in_nobody_s_way(place: Place, writer: Writer) -> None:
    git = writer()
    known = git.deliver(ALONE, "", why()).known
    cache = git._repository._git.folder
    for name in (
        "index.lock",
        "shallow.lock",
        "packed-refs.lock",
        "HEAD.lock",
        "config.lock",
        "FETCH_HEAD.lock",
        "gc.pid",
    ):
        (cache / name).write_text("")
    known = git.deliver(step(5), known, why()).known
    for path in [path for path in (cache / "objects").rglob("*") if path.is_file()]:
        path.chmod(0o644)
        path.write_bytes(b"")
    known = git.deliver(step(10), known, why()).known
    (cache / "HEAD").write_text("nonsense")
    known = git.deliver(step(15), known, why()).known
    shutil.rmtree(cache)
    git.deliver(step(25), known, why())
    assert "trafficPercent: 25" in place.read(FILE)


@pytest.mark.parametrize("after", [False, True])
def test_a_writer_killed_in_its_push_does_no_harm(place: Place, writer: Writer, tmp_path: Path, after: bool) -> None:
    known = writer().deliver(ALONE, "", why()).known
    real, mark = shutil.which("git"), tmp_path / "pushing"
    slow = tmp_path / "slow" / "git"
    slow.parent.mkdir()
    first = f'{real} "$@" >&2; ' if after else ""
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *" push "*) {first}echo $$ > {mark}; exec sleep 600;; esac\nexec {real} "$@"\n'
    )
    slow.chmod(0o755)
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from deliveries import step, uri, why
        from trimtab.adapters.delivery.gitops import GitDelivery
        from trimtab.adapters.git import Credentials
        from trimtab.spec.release import GitOps
        where = GitOps(repository={place.url!r})
        git = GitDelivery(Path({str(tmp_path / "killed")!r}), "orders", where, Credentials(), uri)
        git.deliver(step(5), {known!r}, why())
    """
    environment = {**os.environ, "PATH": f"{slow.parent}:{os.environ['PATH']}"}
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=environment)
    try:
        until(lambda: mark.is_file() and mark.read_text().strip() != "", 60)
    finally:
        process.kill()
        process.wait()
    again = GitDelivery(tmp_path / "killed", "orders", GitOps(repository=place.url), Credentials(), uri)
    again.deliver(step(5), known, why())
    os.kill(int(mark.read_text()), signal.SIGKILL)
    assert place.log().count("orders: version 1 serves, version 2 gets 5 %") == 1


def test_no_configuration_or_hook_of_the_machine_takes_part(
    place: Place, writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "file:///nowhere/"]\n\tinsteadOf = file://{place.folder}/\n[user]\n\tname = root\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody")
    writer().deliver(ALONE, "", why())
    assert place.git("log", "-1", "--format=%an|%cn", "main").strip() == "trimtab|trimtab"


def test_without_git_it_says_so(writer: Writer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    git = writer()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeliveryFailed, match=r"git cannot be started .* install it"):
        git.deliver(ALONE, "", why())
