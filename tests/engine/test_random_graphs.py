"""Graphs that nobody thought of: what the engine computes is what plain Python computes."""

import random
from typing import Any

import pytest
from kfp import dsl
from laboratory import Laboratory
from parts import add, numbers, total


class Sketch:
    """Builds a random pipeline and, beside it, the value of everything in it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.known: list[tuple[Any, int]] = []

    def build(self, x: Any, value: int) -> tuple[Any, int]:
        self.known = [(x, value)]
        for _ in range(self._random.randint(3, 6)):
            self.known.append(self._random.choice((self._sum, self._loop, self._nested, self._choice))())
        return self._fold()

    def _pick(self) -> tuple[Any, int]:
        return self._random.choice(self.known)

    def _sum(self) -> tuple[Any, int]:
        (left, a), (right, b) = self._pick(), self._pick()
        return add(a=left, b=right).output, a + b

    def _loop(self) -> tuple[Any, int]:
        (other, b), count = self._pick(), self._random.randint(0, 3)
        items = numbers(count=count)
        with dsl.ParallelFor(items.output, parallelism=self._random.randint(0, 2)) as item:
            inner = add(a=item, b=other)
        return total(numbers=dsl.Collected(inner.output)).output, sum(item + b for item in range(count))

    def _nested(self) -> tuple[Any, int]:
        outer_items, inner_items = ([self._random.randint(-3, 3) for _ in range(2)] for _ in range(2))
        with dsl.ParallelFor(outer_items) as outer:
            with dsl.ParallelFor(inner_items) as small:
                cell = add(a=outer, b=small)
            row = total(numbers=dsl.Collected(cell.output))
        value = sum(a + b for a in outer_items for b in inner_items)
        return total(numbers=dsl.Collected(row.output)).output, value

    def _choice(self) -> tuple[Any, int]:
        (given, value), bound = self._pick(), self._random.randint(-5, 20)
        (first, a), (second, b) = self._pick(), self._pick()
        with dsl.If(given > bound):
            yes = add(a=first, b=100)
        with dsl.Elif(given == bound):
            same = add(a=first, b=200)
        with dsl.Else():
            no = add(a=second, b=300)
        chosen = a + 100 if value > bound else a + 200 if value == bound else b + 300
        return dsl.OneOf(yes.output, same.output, no.output), chosen

    def _fold(self) -> tuple[Any, int]:
        result, value = self.known[0]
        for other, b in self.known[1:]:
            result, value = add(a=result, b=other).output, value + b
        return result, value


@pytest.mark.parametrize("seed", range(12))
def test_a_random_graph(lab: Laboratory, seed: int) -> None:
    wanted: list[int] = []

    @dsl.pipeline(name="random-graph-pipeline")
    def pipeline(x: int) -> int:
        result, value = Sketch(seed).build(x, seed)
        wanted.append(value)
        return result

    assert lab.run(pipeline, x=seed).output == wanted[0]
    again = lab.run(pipeline, cache=True, x=seed)
    assert again.output == wanted[0]
    assert "SUCCEEDED" not in again.states().values()
