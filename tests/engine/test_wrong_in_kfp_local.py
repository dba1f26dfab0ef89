"""The cases in which kfp.local 2.17.0 is wrong or fails (shared facts, kfp.md), run for real."""

import pytest
from kfp import dsl
from laboratory import Laboratory
from parts import add, join, numbers, people, read, read_all, say, shown, total, write


@dsl.pipeline(name="upstream-in-loop-pipeline")
def upstream_in_loop(base: str) -> str:
    first = say(text=base)
    with dsl.ParallelFor(["a", "b"]) as item:
        one = say(text=f"{first.output}/{item}")
    return join(texts=dsl.Collected(one.output)).output


def test_a_loop_sees_the_parameter_of_a_task_outside_it(lab: Laboratory) -> None:
    assert lab.run(upstream_in_loop, base="BASE").output == "BASE/a,BASE/b"


@dsl.pipeline(name="nested-loops-pipeline")
def nested_loops(outer: list[str], inner: list[str]) -> str:
    with dsl.ParallelFor(outer) as big, dsl.ParallelFor(inner) as small:
        one = say(text=f"{big}{small}")
    return shown(value=dsl.Collected(one.output)).output


def test_the_inner_task_sees_the_items_of_both_loops(lab: Laboratory) -> None:
    output = lab.run(nested_loops, outer=["1", "2"], inner=["x", "y", "z"]).output
    assert output == '[["1x", "1y", "1z"], ["2x", "2y", "2z"]]'


@dsl.pipeline(name="fields-pipeline")
def two_fields(count: int) -> str:
    made = people(count=count)
    with dsl.ParallelFor(made.output) as one:
        text = say(text=f"{one.who} is {one.age}")
    return join(texts=dsl.Collected(text.output)).output


def test_two_fields_of_an_item_in_one_text(lab: Laboratory) -> None:
    assert lab.run(two_fields, count=3).output == "n0 is 0,n1 is 1,n2 is 2"


@dsl.pipeline(name="empty-loop-pipeline")
def empty_loop(count: int) -> int:
    made = numbers(count=count)
    with dsl.ParallelFor(made.output) as one:
        more = add(a=one, b=10)
    return total(numbers=dsl.Collected(more.output)).output


@pytest.mark.parametrize(("count", "result"), [(0, 0), (1, 10), (4, 46)])
def test_collected_over_any_number_of_items(lab: Laboratory, count: int, result: int) -> None:
    assert lab.run(empty_loop, count=count).output == result


@dsl.pipeline(name="empty-artifact-loop-pipeline")
def empty_artifact_loop(names: list[str]) -> str:
    with dsl.ParallelFor(names) as name:
        made = write(text=name)
    return read_all(data=dsl.Collected(made.outputs["data"])).output


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"]])
def test_collected_artifacts_over_any_number_of_items(lab: Laboratory, names: list[str]) -> None:
    assert lab.run(empty_artifact_loop, names=names).output == ",".join(names)


@dsl.pipeline(name="one-of-artifact-pipeline")
def one_of_artifact(which: str) -> str:
    with dsl.If(which == "a"):
        first = write(text="first")
    with dsl.Elif(which == "b"):
        second = write(text="second")
    with dsl.Else():
        third = write(text="third")
    chosen = dsl.OneOf(first.outputs["data"], second.outputs["data"], third.outputs["data"])
    return read(data=chosen).output


@pytest.mark.parametrize(("which", "text"), [("a", "first"), ("b", "second"), ("", "third")])
def test_one_of_artifacts(lab: Laboratory, which: str, text: str) -> None:
    assert lab.run(one_of_artifact, which=which).output == text


@dsl.pipeline(name="reading-pipeline")
def reading(data: dsl.Input[dsl.Dataset]) -> str:
    return read(data=data).output


@dsl.pipeline(name="artifact-only-nesting-pipeline")
def artifact_only_nesting(text: str) -> str:
    return reading(data=write(text=text).outputs["data"]).output


def test_a_nested_pipeline_with_artifacts_alone(lab: Laboratory) -> None:
    assert lab.run(artifact_only_nesting, text="deep").output == "deep"


@dsl.pipeline(name="text-conditions-pipeline")
def text_conditions(given: str, other: str) -> str:
    with dsl.If(given == other):
        same = say(text="same")
    with dsl.Else():
        differs = say(text="differs")
    return dsl.OneOf(same.output, differs.output)


HOSTILE = ["it's", "a\nb", "x' or 'a'=='a", 'say "hi"', "\\", "'", "", "{{$.pipeline_root}}", "true", "ü€\u2028"]


@pytest.mark.parametrize("text", HOSTILE)
def test_conditions_compare_texts_and_never_run_them(lab: Laboratory, text: str) -> None:
    assert lab.run(text_conditions, given=text, other=text).output == "same"
    assert lab.run(text_conditions, given=text, other="a").output == "differs"


@dsl.pipeline(name="quoted-literal-pipeline")
def quoted_literal(given: str) -> str:
    with dsl.If(given == "it's"):
        same = say(text="same")
    with dsl.Else():
        differs = say(text="differs")
    return dsl.OneOf(same.output, differs.output)


def test_a_literal_with_a_quote_that_the_compiler_does_not_escape(lab: Laboratory) -> None:
    assert lab.run(quoted_literal, given="it's").output == "same"
    assert lab.run(quoted_literal, given="its").output == "differs"


@dsl.pipeline(name="big-parameter-pipeline")
def big_parameter(text: str) -> str:
    return say(text=text).output


def test_a_parameter_that_is_too_long_for_a_command_line(lab: Laboratory) -> None:
    text = "x" * 3_000_000
    assert lab.run(big_parameter, text=text).output == text
