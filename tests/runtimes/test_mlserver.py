"""MLServer."""

from runtime_process import V2
from runtime_suite import RuntimeSuite


class MLServer(V2):
    name = "mlserver"


class TestMLServer(RuntimeSuite):
    runtime = MLServer()
