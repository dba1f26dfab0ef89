"""An operator as a process of its own: `fleet_process.py API_URL NAMESPACE IDENTITY`. Its world is in memory.

A loop whose name starts with `broken` has no world.
"""

import os
import signal
import sys
from typing import Any

import kopf
from operator_product import Product

from trimtab.adapters.cluster import Cluster
from trimtab.errors import TrimtabError
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject
from trimtab.operator.main import Operator
from trimtab.operator.settings import Settings
from trimtab.spec.document import ModelLoop


def operator(url: str, namespace: str, identity: str, **settings: Any) -> Operator:
    """An operator against a server without authentication."""
    cluster = Cluster.connect(url=url)
    products: dict[str, Product] = {}

    def worlds(document: ModelLoop, about: LoopObject) -> World:
        if about.name.startswith("broken"):
            raise TrimtabError("the store is not there")
        product = products.setdefault(about.name, Product(about.name))
        return product.world(cluster, document, about)

    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=url)

    busy, idle = (
        float(os.environ.get(f"FLEET_{which}_SECONDS", usual)) for which, usual in (("BUSY", 0.2), ("IDLE", 30))
    )
    found = Settings((namespace,), namespace, identity, None, None, busy_seconds=busy, idle_seconds=idle, **settings)
    return Operator(cluster, worlds, found, login)


if __name__ == "__main__":
    made = operator(*sys.argv[1:4], lease_seconds=2.0)
    for number in (signal.SIGINT, signal.SIGTERM):  # as the operator's own main: also before kopf has begun
        signal.signal(number, lambda *_: made.stop.set())
    sys.exit(made.run())
