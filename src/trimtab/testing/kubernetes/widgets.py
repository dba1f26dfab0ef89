"""A kind for tests of API servers, and calls of it through the `kubernetes` client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

GROUP, VERSION, PLURAL = "test.trimtab.dev", "v1", "widgets"
WIDGET_SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
            },
        },
    },
}
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": PLURAL, "singular": "widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": WIDGET_SPEC,
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


class Widgets:
    """Widgets of one namespace."""

    def __init__(self, api: Any, namespace: str) -> None:
        self.calls = client.CustomObjectsApi(api)
        self.place = (GROUP, VERSION, namespace, PLURAL)

    def make(self, name: str, meta: dict[str, Any] | None = None, **spec: Any) -> Any:
        """A new one."""
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Widget",
            "metadata": {"name": name, **(meta or {})},
            "spec": {"size": 1, **spec},
        }
        return self.calls.create_namespaced_custom_object(*self.place, body)

    def get(self, name: str) -> Any:
        """One as it is."""
        return self.calls.get_namespaced_custom_object(*self.place, name)

    def all(self, **options: Any) -> Any:
        """The list."""
        return self.calls.list_namespaced_custom_object(*self.place, **options)

    def replace(self, name: str, body: Any) -> Any:
        """Write it whole."""
        return self.calls.replace_namespaced_custom_object(*self.place, name, body)

    def patch(self, name: str, body: Any, status: bool = False, content_type: str = "", **query: Any) -> Any:
        """PATCH of the given kind (merge)."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self.place[2]}/{PLURAL}/{name}{'/status' if status else ''}"
        return self.calls.api_client.call_api(
            path,
            "PATCH",
            {},
            list(query.items()),
            {"Content-Type": content_type or "application/merge-patch+json", "Accept": "application/json"},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
        )

    def apply(self, name: str, manager: str, spec: Any, force: bool = False) -> Any:
        """Server-side apply."""
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return self.patch(name, body, False, "application/apply-patch+yaml", **query)

    def delete(self, name: str, **options: Any) -> Any:
        """Delete it."""
        return self.calls.delete_namespaced_custom_object(*self.place, name, **options)


def refused(call: Callable[[], Any]) -> ApiException:
    """The refusal that the call must meet."""
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value


def until(test: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look until it is so."""
    give_up = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < give_up, "it did not become so in time"
        time.sleep(0.02)
