"""Components that the tests' pipelines are made of; kfp reads their source from this file."""

# ruff: noqa: PTH118, PTH123, PTH208

from typing import NamedTuple

from kfp import dsl

IMAGE = "python:3.11"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def say(text: str) -> str:
    return text


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def add(a: int, b: int = 1) -> int:
    return a + b


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def join(texts: list[str]) -> str:
    return ",".join(texts)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def shown(value: list) -> str:
    import json

    return json.dumps(value)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def numbers(count: int) -> list[int]:
    return list(range(count))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def people(count: int) -> list[dict]:
    return [{"who": f"n{index}", "age": index} for index in range(count)]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def write(text: str, data: dsl.Output[dsl.Dataset]):
    with open(data.path, "w") as file:
        file.write(text)
    data.metadata["length"] = len(text)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def read(data: dsl.Input[dsl.Dataset]) -> str:
    with open(data.path) as file:
        return file.read()


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def read_all(data: dsl.Input[list[dsl.Dataset]]) -> str:
    texts = []
    for one in data:
        with open(one.path) as file:
            texts.append(file.read())
    return ",".join(texts)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fail(message: str = "it went wrong") -> str:
    raise RuntimeError(message)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fail_until(folder: str, tries: int) -> int:
    """Fail until it was called so often; says which call succeeded."""
    import os

    done = len(os.listdir(folder))
    open(os.path.join(folder, str(done)), "w").close()
    if done + 1 < tries:
        raise RuntimeError(f"try {done + 1}")
    return done + 1


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def rest(seconds: float) -> str:
    import time

    time.sleep(seconds)
    return "rested"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def note(folder: str, name: str) -> str:
    """Leave a mark that this ran; another call adds another."""
    import uuid

    open(f"{folder}/{name}-{uuid.uuid4().hex}", "w").close()
    return name


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def last_words(folder: str, status: dsl.PipelineTaskFinalStatus):
    import json

    told = {
        "state": status.state,
        "task": status.pipeline_task_name,
        "job": status.pipeline_job_resource_name,
        "message": status.error_message,
    }
    with open(f"{folder}/last-words.json", "w") as file:
        json.dump(told, file)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def split(text: str) -> NamedTuple("Halves", left=str, right=str, size=int):  # type: ignore[valid-type]
    from collections import namedtuple

    halves = namedtuple("Halves", ["left", "right", "size"])
    middle = len(text) // 2
    return halves(text[:middle], text[middle:], len(text))
