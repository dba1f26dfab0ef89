"""ParallelFor: one run of a component for each item, its outputs collected in the order of the items."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from trimtab.engine import ir
from trimtab.engine.outcome import CANCELLED, Done, Outcome
from trimtab.engine.parameters import WrongTypeError, loosened
from trimtab.engine.stage import Place, Stage
from trimtab.engine.values import Values

MOST_ITEMS = 10_000


Iteration = Callable[[Place, Values, Done], None]


class Loop:
    """The iterations of one task."""

    def __init__(
        self,
        stage: Stage,
        component: ir.Component,
        task: ir.Task,
        place: Place,
        inputs: Values,
        iteration: Iteration,
        done: Done,
    ) -> None:
        self._stage, self._component, self._task, self._place = stage, component, task, place
        self._inputs, self._iteration, self._done = inputs, iteration, done
        self._items: Sequence[Values] = ()
        self._next = self._running = 0
        self._outcomes: dict[int, Outcome] = {}
        self._advancing = False

    def begin(self) -> None:
        """Start the first iterations, or report at once if there are none."""
        try:
            self._items = self._inputs_of_items()
        except ValueError as error:
            self._stage.skip(self._place, "FAILED", str(error))
            self._done(Outcome("FAILED", reason=str(error)))
            return
        self._advance()

    def _advance(self) -> None:
        if self._advancing:
            return
        self._advancing = True
        limit = (self._task.iterator.limit if self._task.iterator else 0) or MOST_ITEMS
        while self._next < len(self._items) and self._running < limit:
            index = self._next
            self._next += 1
            self._running += 1
            place = self._place.iteration(index)
            if self._stage.stopped(place):
                self._ended(index, CANCELLED)
            else:
                self._iteration(place, self._items[index], self._reporter(index))
        self._advancing = False
        if len(self._outcomes) == len(self._items):
            self._done(self._outcome())

    def _reporter(self, index: int) -> Done:
        return lambda outcome: self._ended(index, outcome)

    def _ended(self, index: int, outcome: Outcome) -> None:
        self._running -= 1
        self._outcomes[index] = outcome
        self._advance()

    def _outcome(self) -> Outcome:
        outcomes = [self._outcomes[index] for index in range(len(self._items))]
        failed = [f"[{at}] {one.reason}" for at, one in enumerate(outcomes) if one.state == "FAILED"]
        if failed:
            return Outcome("FAILED", self._collected(outcomes), "; ".join(failed))
        if any(one.state == "CANCELLED" for one in outcomes):
            return Outcome("CANCELLED", reason=CANCELLED.reason)
        return Outcome("SUCCEEDED", self._collected(outcomes))

    def _collected(self, outcomes: Sequence[Outcome]) -> Values:
        """Parameters as a list an iteration; artifacts as one flat list, also through nested loops, as on a cluster."""
        parameters = {
            name: [one.values.parameters[name] for one in outcomes if name in one.values.parameters]
            for name in self._component.outputs.parameters
        }
        artifacts = {
            name: tuple(found for one in outcomes for found in one.values.artifacts.get(name, ()))
            for name in self._component.outputs.artifacts
        }
        return Values(parameters, artifacts)

    def _inputs_of_items(self) -> Sequence[Values]:
        iterator = self._task.iterator
        if iterator is None:
            raise ValueError("no loop")
        if iterator.of_artifacts:
            many = self._inputs.artifacts.get(iterator.over, ())
            found = [Values(self._inputs.parameters, {**self._inputs.artifacts, iterator.item: (one,)}) for one in many]
        else:
            items = self._items_of(iterator)
            found = [Values({**self._inputs.parameters, iterator.item: one}, self._inputs.artifacts) for one in items]
        if len(found) > MOST_ITEMS:
            raise ValueError(f"a loop over {len(found)} items; at most {MOST_ITEMS} are run")
        return found

    def _items_of(self, iterator: ir.Iterator) -> list[Any]:
        items: Any = iterator.raw if iterator.raw is not None else self._inputs.parameters.get(iterator.over)
        if isinstance(items, str):
            try:
                items = json.loads(items)
            except json.JSONDecodeError:
                raise ValueError(f"the loop's items are no list but {items[:60]!r}") from None
        if not isinstance(items, list | tuple):
            raise ValueError(f"the loop's items are no list but {type(items).__name__}")
        spec = self._component.inputs.parameters.get(iterator.item)
        try:
            return [one if spec is None else loosened(one, spec.type) for one in items]
        except WrongTypeError as error:
            raise ValueError(f"an item of the loop: {error}") from error
