"""What is said of a document some parts of which are wrong already: nothing that is only a consequence of those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trimtab.spec.document import API_VERSION, KIND, LoopSpec
from trimtab.spec.explain import Finding
from trimtab.spec.problems import Loc

_PROBLEM = ("spec", "scope", "problem")
_SECTIONS = frozenset(field.alias or name for name, field in LoopSpec.model_fields.items())
_OF_METRICS = frozenset({"quality", "monitoring", "release"})  # what they name, `scope` promises


def said_once(value: Any, given: Any, findings: Sequence[Finding]) -> list[Finding]:
    """The findings, with one for all sections that stand beside `spec`, and empty keys called empty.

    `value` is what was validated, `given` the same with its empty keys.
    """
    found = [_empty(one) if one.missing and _is_there(given, one.loc) else one for one in findings]
    beside = [name for name in value if name in _SECTIONS] if isinstance(value, dict) and "spec" not in value else []
    if not beside:
        return found
    kept = [one for one in found if one.loc != ("spec",) and (one.loc[:1] != (beside[0],) and one.loc[0] not in beside)]
    told = ", ".join(f"`{name}`" for name in beside)
    return [*kept, Finding((beside[0],), f"put {told} under `spec:`, indented", of_key=True)]


def rest(value: Any, findings: Sequence[Finding]) -> Any:
    """A copy without what is wrong and with stand-ins for what every document has, so that the rest can be checked."""
    found = _without(value, {finding.loc for finding in findings if not finding.missing})
    likely = next((one.suggestion for one in findings if one.loc == _PROBLEM), "") or "classification"
    if isinstance(found, dict):
        found |= {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "stand-in"}}
        spec = found.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("scope", {}), dict):
            spec["scope"] = {"problem": likely, **spec.get("scope", {})}
    return found


def follows(finding: Finding, value: Any, wrong: Sequence[Finding]) -> bool:
    """Whether a contradiction may only follow from what is wrong already, in its mapping or in what it rests on."""
    base = finding.loc if isinstance(_at(value, finding.loc), dict | list) else finding.loc[:-1]
    return any(_rests_on(finding.loc, base, one) for one in wrong)


def _rests_on(loc: Loc, base: Loc, wrong: Finding) -> bool:
    at = wrong.loc
    if at[: len(base)] == base or loc[: len(at)] == at:
        return True
    if at and isinstance(at[-1], int) and loc[: len(at) - 1] == at[:-1]:
        return True  # without that item the others have another number
    if at == _PROBLEM:
        return not wrong.suggestion and loc[1] in {"scope", *_OF_METRICS}
    if at[:2] == ("spec", "scope"):
        return loc[1] in _OF_METRICS
    return at[:2] == ("spec", "data") and (loc[1] == "features" or loc[1:3] == ("data", "split"))


def _empty(finding: Finding) -> Finding:
    return replace(finding, message="a key that must hold something is empty")


def _is_there(given: Any, loc: Loc) -> bool:
    around = _at(given, loc[:-1])
    return isinstance(around, dict) and loc[-1] in around


def _at(value: Any, loc: Loc) -> Any:
    for part in loc:
        inside = part in value if isinstance(value, dict) else isinstance(value, list) and part in range(len(value))
        if not inside:
            return None
        value = value[part]
    return value


def _without(value: Any, wrong: set[Loc], loc: Loc = ()) -> Any:
    if isinstance(value, dict):
        return {
            name: _without(child, wrong, (*loc, name)) for name, child in value.items() if (*loc, name) not in wrong
        }
    if isinstance(value, list):
        return [
            _without(child, wrong, (*loc, index)) for index, child in enumerate(value) if (*loc, index) not in wrong
        ]
    return value
