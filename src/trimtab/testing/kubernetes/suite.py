"""What an API server must do for operators, seen through the `kubernetes` client; run over ours and over a real one.

Subclass it with a fixture `api`: an ApiClient, and a fixture `namespace`: the name of an empty namespace. The kind
`Widget` (group test.trimtab.dev) is made by the first test that needs it and left.
"""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from trimtab.testing.kubernetes.widgets import GROUP, VERSION, WIDGETS, Widgets, refused, until


class KubernetesApiSuite:
    """Objects, writes, watches, deletion, ownership, schemas, server-side apply."""

    @pytest.fixture
    def widgets(self, api: Any, namespace: str) -> Widgets:
        definitions = client.ApiextensionsV1Api(api)
        try:
            definitions.create_custom_resource_definition(WIDGETS)
        except ApiException as error:
            if error.status != 409:
                raise
        found = Widgets(api, namespace)

        def served() -> bool:
            try:
                found.all()
            except ApiException as error:
                if error.status != 404:
                    raise
                return False
            return True

        until(served)
        return found

    def test_a_new_object_has_an_identity_a_version_and_a_generation(self, widgets: Widgets) -> None:
        meta = widgets.make("a")["metadata"]
        assert meta["uid"] != widgets.make("b")["metadata"]["uid"]
        assert meta["generation"] == 1
        assert meta["resourceVersion"]
        assert meta["creationTimestamp"].endswith("Z")
        taken = refused(lambda: widgets.make("a"))
        assert (taken.status, "AlreadyExists" in str(taken.body)) == (409, True)
        assert refused(lambda: widgets.get("none")).status == 404

    def test_a_write_over_something_newer_is_refused(self, widgets: Widgets) -> None:
        first = widgets.make("a")
        second = widgets.replace("a", {**first, "spec": {"size": 2}})
        assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
        assert refused(lambda: widgets.replace("a", {**first, "spec": {"size": 3}})).status == 409
        assert widgets.get("a")["spec"]["size"] == 2

    def test_only_changes_of_the_spec_make_a_new_generation(self, widgets: Widgets) -> None:
        widgets.make("a")
        assert widgets.patch("a", {"metadata": {"labels": {"x": "y"}}})["metadata"]["generation"] == 1
        assert widgets.patch("a", {"status": {"phase": "Up"}}, status=True)["metadata"]["generation"] == 1
        assert widgets.patch("a", {"spec": {"size": 5}})["metadata"]["generation"] == 2

    def test_a_write_that_changes_nothing_makes_no_new_version(self, widgets: Widgets) -> None:
        before = widgets.make("a")["metadata"]["resourceVersion"]
        assert widgets.patch("a", {"spec": {"size": 1}})["metadata"]["resourceVersion"] == before

    def test_status_and_the_rest_are_written_apart(self, widgets: Widgets) -> None:
        widgets.make("a")
        widgets.patch("a", {"status": {"phase": "Up"}, "spec": {"size": 9}}, status=True)
        widgets.patch("a", {"status": {"phase": "Down"}, "spec": {"size": 7}})
        found = widgets.get("a")
        assert (found["status"]["phase"], found["spec"]["size"]) == ("Up", 7)

    def test_defaults_are_filled_in_and_what_breaks_the_schema_is_refused(self, widgets: Widgets) -> None:
        assert widgets.make("a")["spec"]["colour"] == "red"
        for wrong in ({"size": 0}, {"size": "1"}, {"colour": "blue"}, {"parts": [{"count": 1}]}):
            error = refused(lambda wrong=wrong: widgets.make("b", **wrong))  # type: ignore[misc]
            assert error.status == 422
            assert f"spec.{next(iter(wrong))}" in str(error.body)
        assert "unknown" not in widgets.make("c", unknown=1)["spec"]

    def test_labels_and_names_select(self, widgets: Widgets) -> None:
        for name, tier in (("a", "gold"), ("b", "silver"), ("c", "")):
            widgets.make(name, {"labels": {"tier": tier} if tier else {}})
        for selector, wanted in (
            ("tier=gold", "a"),
            ("tier!=gold", "bc"),
            ("tier in (gold,silver)", "ab"),
            ("tier notin (gold)", "bc"),
            ("tier", "ab"),
            ("!tier", "c"),
        ):
            found = widgets.all(label_selector=selector)["items"]
            assert "".join(one["metadata"]["name"] for one in found) == wanted, selector
        assert len(widgets.all(field_selector="metadata.name=b")["items"]) == 1

    def test_long_lists_come_in_pages(self, widgets: Widgets) -> None:
        for name in "abcde":
            widgets.make(name)
        names, token = [], ""
        while True:
            page = widgets.all(limit=2, **({"_continue": token} if token else {}))
            names += [one["metadata"]["name"] for one in page["items"]]
            token = page["metadata"].get("continue") or ""
            if not token:
                break
        assert names == list("abcde")

    def test_a_watch_tells_what_happened_since_a_version_in_order(self, widgets: Widgets) -> None:
        widgets.make("old")
        since = widgets.all()["metadata"]["resourceVersion"]
        widgets.make("a")
        widgets.patch("a", {"spec": {"size": 4}})
        widgets.delete("a")
        seen = []
        for event in watch.Watch().stream(widgets.all, resource_version=since, timeout_seconds=20):
            seen.append((event["type"], event["object"]["metadata"]["name"], event["object"]["spec"]["size"]))
            if event["type"] == "DELETED":
                break
        assert seen == [("ADDED", "a", 1), ("MODIFIED", "a", 4), ("DELETED", "a", 4)]

    def test_a_finalizer_holds_a_deleted_object(self, widgets: Widgets) -> None:
        widgets.make("a", {"finalizers": ["test.trimtab.dev/hold"]})
        widgets.delete("a")
        held = widgets.get("a")["metadata"]
        assert held["deletionTimestamp"]
        assert held["generation"] == 2
        more = {"metadata": {"finalizers": ["test.trimtab.dev/hold", "test.trimtab.dev/more"]}}
        assert refused(lambda: widgets.patch("a", more)).status == 422
        widgets.patch("a", {"metadata": {"finalizers": []}})
        assert refused(lambda: widgets.get("a")).status == 404

    def test_what_an_object_owns_goes_with_it(self, api: Any, namespace: str, widgets: Widgets) -> None:
        owner = widgets.make("a")
        reference = {"apiVersion": owner["apiVersion"], "kind": "Widget", "name": "a", "uid": owner["metadata"]["uid"]}
        core = client.CoreV1Api(api)
        for name, owners in (("owned", [reference]), ("free", [])):
            core.create_namespaced_config_map(namespace, {"metadata": {"name": name, "ownerReferences": owners}})
        widgets.delete("a")

        def names() -> set[str]:
            return {one.metadata.name for one in core.list_namespaced_config_map(namespace).items}

        until(lambda: "owned" not in names())
        assert "free" in names()

    def test_applying_keeps_what_others_manage_and_refuses_conflicts(self, widgets: Widgets) -> None:
        widgets.apply("a", "one", {"size": 1, "parts": [{"name": "wheel", "count": 4}]})
        widgets.apply("a", "two", {"parts": [{"name": "door", "count": 2}]})
        assert [one["name"] for one in widgets.get("a")["spec"]["parts"]] == ["wheel", "door"]
        conflict = refused(lambda: widgets.apply("a", "two", {"size": 2}))
        assert conflict.status == 409
        assert ".spec.size" in str(conflict.body)
        assert '\\"one\\"' in str(conflict.body)
        widgets.apply("a", "two", {"size": 2}, force=True)
        found = widgets.get("a")["spec"]
        assert found["size"] == 2
        assert [one["name"] for one in found["parts"]] == ["wheel"]  # two's door went with its last apply

    def test_a_json_patch_tests_and_changes(self, widgets: Widgets) -> None:
        widgets.make("a")
        kind = "application/json-patch+json"
        steps = [{"op": "test", "path": "/spec/size", "value": 1}, {"op": "replace", "path": "/spec/size", "value": 2}]
        assert widgets.patch("a", steps, content_type=kind)["spec"]["size"] == 2
        assert refused(lambda: widgets.patch("a", steps, content_type=kind)).status in (409, 422)

    def test_a_lease_changes_hands_only_by_its_newest_version(self, api: Any, namespace: str) -> None:
        leases = client.CoordinationV1Api(api)
        made = leases.create_namespaced_lease(
            namespace, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 5}}
        )
        made.spec.holder_identity = "b"
        leases.replace_namespaced_lease("l", namespace, made)
        made.spec.holder_identity = "c"
        assert refused(lambda: leases.replace_namespaced_lease("l", namespace, made)).status == 409

    def test_events_are_written_and_found_by_what_they_are_about(self, api: Any, namespace: str) -> None:
        core = client.CoreV1Api(api)
        about = {"kind": "Widget", "name": "a", "namespace": namespace, "apiVersion": f"{GROUP}/{VERSION}"}
        body = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "R", "message": "m", "type": "Normal"}
        core.create_namespaced_event(namespace, body)
        found = core.list_namespaced_event(namespace, field_selector="involvedObject.name=a").items
        assert [(one.reason, one.message) for one in found] == [("R", "m")]
