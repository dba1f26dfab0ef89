"""The status of a ModelLoop, as the operator writes it, and the columns of `kubectl get modelloops`."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def _text(description: str, longest: int = 1024) -> Json:
    return {"type": "string", "description": description, "maxLength": longest}


def _time(description: str) -> Json:
    return {"type": "string", "format": "date-time", "description": description}


def _whole(description: str, most: int | None = None) -> Json:
    bounds = {} if most is None else {"maximum": most}
    return {"type": "integer", "format": "int64", "minimum": 0, **bounds, "description": description}


_CONDITION: Json = {
    "type": "object",
    "required": ["type", "status", "reason", "lastTransitionTime"],
    "properties": {
        "type": {
            "type": "string",
            "description": "What is told: Accepted, Ready, Progressing or Degraded.",
            "maxLength": 316,
        },
        "status": {
            "type": "string",
            "enum": ["True", "False", "Unknown"],
            "description": "Whether it is so; Unknown with too little evidence.",
        },
        "reason": {
            "type": "string",
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            "maxLength": 1024,
            "description": "Why, in one word for programs.",
        },
        "message": _text("Why, in a sentence for people.", 32768),
        "observedGeneration": _whole("The generation of the document that this was said of."),
        "lastTransitionTime": _time("When the status last changed."),
    },
}

_RELEASE: Json = {
    "type": "object",
    "description": "The release in progress; absent when there is none.",
    "properties": {
        "version": _text("The version that is being released.", 256),
        "stage": _text("Where it stands: shadow, canary, holding, promoted or rolled back.", 64),
        "step": _whole("Which of release.steps it is at, from 1; 0 before the first."),
        "steps": _whole("How many steps there are."),
        "percent": _whole("Percent of traffic that it is given.", 100),
        "since": _time("When this step began."),
        "message": _text("What is waited for, in a sentence.", 32768),
    },
}

_DECISION: Json = {
    "type": "object",
    "description": "The last thing that was decided.",
    "properties": {
        "time": _time("When."),
        "what": _text("What was decided, such as promote, hold, roll-back, retrain.", 128),
        "why": _text("The sentence with its evidence.", 32768),
        "version": _text("The version that it is about.", 256),
        "turn": _text("The turn in the ledger.", 128),
    },
}

STATUS: Json = {
    "type": "object",
    "description": "What the operator last saw and did.",
    "properties": {
        "observedGeneration": _whole("The generation of the document that the operator has acted on."),
        "phase": _text("In one word: Pending, Training, Serving, Releasing, Degraded, Failed, Deleting.", 64),
        "champion": _text("The version that serves.", 256),
        "challenger": _text("The version that is being released.", 256),
        "trafficPercent": _whole("Percent of traffic that the challenger is given.", 100),
        "drift": _text("In one word: none, drifting, unknown.", 64),
        "message": _text("How the loop stands, in a sentence.", 32768),
        "lastTurn": _time("When the loop was last looked at."),
        "release": _RELEASE,
        "lastDecision": _DECISION,
        "conditions": {
            "type": "array",
            "description": "Each by its type.",
            "maxItems": 32,
            "items": _CONDITION,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    },
}

COLUMNS: list[Json] = [
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Champion", "type": "string", "jsonPath": ".status.champion"},
    {"name": "Challenger", "type": "string", "jsonPath": ".status.challenger"},
    {
        "name": "Traffic",
        "type": "integer",
        "jsonPath": ".status.trafficPercent",
        "description": "Percent of traffic that the challenger is given.",
    },
    {"name": "Drift", "type": "string", "jsonPath": ".status.drift"},
    {
        "name": "Decision",
        "type": "string",
        "jsonPath": ".status.lastDecision.why",
        "priority": 1,
        "description": "The last decision with its sentence; shown by -o wide.",
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
