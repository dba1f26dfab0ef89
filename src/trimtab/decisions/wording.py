"""Numbers as a person on call reads them."""

from __future__ import annotations

from datetime import timedelta

from trimtab.spec.section import format_duration


def percent(share: float) -> str:
    """A share 0..1 as percent: `1.7 %`."""
    return f"{100 * share:.3g} %"


def gained(difference: float, measure: str) -> str:
    """A difference of scores, above nought is better: `-2.1 points` of right answers, else `worse by 0.021`.

    Other measures are losses, of which less is better, so that a sign would be misread; in the metric's own unit.
    """
    if measure.startswith("right answers"):
        return f"{100 * difference:+.1f} points"
    return f"{'worse' if difference < 0 else 'better'} by {abs(difference):.3g}"


def lasting(duration: timedelta) -> str:
    """A duration as loop.yaml writes it, to the coarsest unit that says enough: `3d`, `5h`, `12m`."""
    seconds = max(0.0, duration.total_seconds())
    for unit in (86400, 3600, 60):
        if seconds >= 2 * unit:
            return format_duration(timedelta(seconds=round(seconds / unit) * unit))
    return f"{seconds:.0f}s"


def counted(number: int, one: str) -> str:
    """`1 label`, `3 labels`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
