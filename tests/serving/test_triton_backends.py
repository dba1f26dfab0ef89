"""Triton's backend folder, where the wheel belongs to root and nobody may change a mode in it."""

from __future__ import annotations

import sys
from pathlib import Path

from trimtab.serving.triton.repository import backends


def test_the_stub_is_a_file_of_our_own_as_triton_sets_its_mode(tmp_path: Path) -> None:
    wheel = tmp_path / "wheel"
    stub = wheel / f"python_backend_stubs/{sys.version_info[0]}.{sys.version_info[1]}/triton_python_backend_stub"
    for path, content in ((stub, "stub"), (wheel / "backends/python/libtriton_python.so", "library")):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    stub.chmod(0o555)
    made = backends(tmp_path / "made", wheel) / "python"
    copied = made / stub.name
    assert not copied.is_symlink()
    copied.chmod(0o755)
    assert (copied.read_text(), stub.stat().st_mode & 0o777) == ("stub", 0o555)
    assert (made / "libtriton_python.so").read_text() == "library"
