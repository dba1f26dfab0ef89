"""For every test: tests that run beside one another do not starve, and none fails for being slow then."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # OpenMP's threads sleep while they wait
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
