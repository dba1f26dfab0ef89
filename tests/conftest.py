"""For every test: OpenMP's threads sleep while they wait, so that tests beside one another do not starve."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
