"""Routes as Envoy's route table: a pure function of `Routes`.

What a split chose is tried first and the other version second: a cluster of clusters ("aggregate") whose retries skip
what was tried.
"""

from __future__ import annotations

from trimtab.adapters.router.envoy_config import PICKED, SERVED, UNSERVED, Bounds, Json, typed
from trimtab.adapters.router.envoy_members import Chain, Member, Paths, chain_name, feedback_name
from trimtab.ports.router import Routes

TRACK = "x-model-track"
COPY = "x-trimtab-shadow"  # request header of a copy; a client's own is taken away
# Nothing else is let through: kserve's /v2/repository can unload the model, /metrics is not for the public.
_PREDICT = r"/v1/models/[^/]+:(predict|explain)|/v2/models/[^/]+(/versions/[^/]+)?/(infer|explain)"
_ABOUT = r"/v1/models(/.*)?|/v2(/((models|health)(/.*)?)?)?"
_GRPC_PREDICT = r"/inference\.GRPCInferenceService/ModelInfer"
_GRPC_ABOUT = r"/inference\.GRPCInferenceService/(ServerLive|ServerReady|ServerMetadata|ModelReady|ModelMetadata)"
_UNSTARTED = "no model version is served just now; look at: trimtab status"
_UNKNOWN = (
    "no such path; predictions: POST /v1/models/NAME:predict or /v2/models/NAME/infer, labels: POST /v1/feedback, "
    "health: /v2/health/ready"
)
_NO_LABELS = "labels are not taken just now; send them again in a moment"


def route_table(routes: Routes, bounds: Bounds) -> Json:
    """The whole route configuration."""
    rules = [_feedback(routes, bounds)]
    for grpc, predict, about in ((False, _PREDICT, _ABOUT), (True, _GRPC_PREDICT, _GRPC_ABOUT)):
        paths = Paths.of(routes, grpc)
        if paths.tracked:
            header = [{"name": TRACK, "string_match": {"exact": "candidate", "ignore_case": True}}]
            rules.append(_rule(predict, _action(((paths.tracked, 100),), bounds), headers=header))
        if paths.shares:
            rules.append(
                _rule(predict, {**_action(paths.shares, bounds), **_mirrors(paths.mirror, routes.mirror_percent)})
            )
            rules.append(_rule(about, _action(((paths.shares[0][0], 100),), bounds, counted=False)))
        else:
            reply = _reply(503, _UNSTARTED)
            rules.append({"name": UNSERVED, "match": {"safe_regex": {"regex": predict}}, **reply})
            rules.append({"match": {"safe_regex": {"regex": about}}, **reply})
    rules.append({"match": {"prefix": "/"}, **_reply(404, _UNKNOWN)})
    host = {"name": "trimtab", "domains": ["*"], "include_request_attempt_count": True, "routes": rules}
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "routes",
        "virtual_hosts": [host],
    }


def _rule(regex: str, action: Json, headers: list[Json] | None = None) -> Json:
    # A version's name comes from the endpoint that answered, so it is right after a fallback too.
    served = [
        {"header": {"key": key, "value": SERVED}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key in ("x-served-by", "x-trimtab-version")
    ]
    match: Json = {"safe_regex": {"regex": regex}}
    if headers:
        match["headers"] = headers
    return {"match": match, "route": action, "response_headers_to_add": served}


def _reply(status: int, body: str) -> Json:
    return {"direct_response": {"status": status, "body": {"inline_string": body}}}


def _action(shares: tuple[tuple[Chain, int], ...], bounds: Bounds, counted: bool = True) -> Json:
    fallback = any(len(chain) > 1 for chain, _ in shares)
    seconds = bounds.timeout_seconds
    return {
        "weighted_clusters": {
            "clusters": [
                {
                    "name": chain_name(chain),
                    "weight": share,
                    "request_headers_to_add": [_picked(chain[0].target.version)] if counted else [],
                    "request_headers_to_remove": [COPY] if counted else [COPY, PICKED],
                }
                for chain, share in shares
            ],
            "use_hash_policy": True,
        },
        # One id, one version: a client that repeats a request is answered by the same one, and a replay is repeatable.
        "hash_policy": [{"header": {"header_name": "x-request-id"}}],
        # Servers know a copy by the "-shadow" that Envoy appends to the host: a client must not be able to say so.
        "host_rewrite_literal": "trimtab",
        "timeout": f"{(2 if fallback else 1) * seconds + (1 if fallback else 0):.3f}s",
        "retry_policy": _second_chance(seconds) if fallback else _same_again(),
    }


def _picked(version: str) -> Json:
    return {"header": {"key": PICKED, "value": version}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _second_chance(seconds: float) -> Json:
    """Any failure is repeated on the other version: a prediction changes nothing, and its log is read by id."""
    priorities = typed("retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", update_frequency=1)
    return {
        "retry_on": "5xx,reset,connect-failure,refused-stream,cancelled,internal,resource-exhausted,unavailable",
        "num_retries": 2,
        "per_try_timeout": f"{seconds:.3f}s",
        "retry_priority": {"name": "envoy.retry_priorities.previous_priorities", "typed_config": priorities},
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
    }


def _same_again() -> Json:
    """With one version only, repeat what it has not begun to answer: a connection it closed, a port not yet open."""
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request,reset",
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }


def _mirrors(mirror: Member | None, percent: int) -> Json:
    if mirror is None or not percent:
        return {}
    share = {"default_value": {"numerator": percent, "denominator": "HUNDRED"}}
    # gRPC servers in Python are not told the host, so a header says it too.
    said = {"append": {"header": {"key": COPY, "value": "true"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    policy = {"cluster": mirror.cluster, "runtime_fraction": share, "request_headers_mutations": [said]}
    return {"request_mirror_policies": [policy]}


def _feedback(routes: Routes, bounds: Bounds) -> Json:
    match = {"path": "/v1/feedback"}
    if not routes.feedback:
        return {"match": match, **_reply(503, _NO_LABELS)}
    # Only what the collector cannot have read is sent again.
    retry = {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 6,
        "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
    }
    action = {"cluster": feedback_name(routes), "timeout": f"{bounds.timeout_seconds:.3f}s", "retry_policy": retry}
    return {"match": match, "route": action, "request_headers_to_remove": [PICKED]}
