"""A process that appends records for ever and says on standard output which it was told are safe."""

import os
import sys
from pathlib import Path

from trimtab.adapters.records.journal import Journal
from trimtab.testing.record_logs import record

if __name__ == "__main__":
    folder, stem, segment_bytes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    journal = Journal(folder, stem, segment_bytes=segment_bytes, reserved_bytes=1 << 16)
    for number in range(10**9):
        names = [f"{stem}-{number}-{part}" for part in range(number % 3 + 1)]
        journal.append([record(name, features="x" * (number % 700)) for name in names])
        os.write(1, "".join(f"{name}\n" for name in names).encode())
