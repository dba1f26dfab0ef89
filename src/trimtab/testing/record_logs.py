"""What every record log must do; subclass it and give a `log` fixture: a `Log` of the predictions schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa

from trimtab.ports.records import RecordReader, RecordWriter

_NOON = datetime(2001, 2, 3, 12, tzinfo=UTC)
ALWAYS = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))


@dataclass(frozen=True)
class Log:
    """A log's two ends; `settle` does what is done to it in the background, and may be called at any time."""

    writer: RecordWriter
    reader: RecordReader
    settle: Callable[[], object] = lambda: None


def record(id_: str, time: datetime = _NOON, **changes: Any) -> dict[str, Any]:
    """A prediction record as the server writes it: `time` is ISO 8601 text."""
    plain = {
        "id": id_,
        "time": time.isoformat(),
        "version": "1",
        "shadow": False,
        "attempt": 1,
        "protocol": "v1",
        "features": '{"x": 1}',
        "prediction": "a",
        "scores": [0.25, 0.75],
        "latency_ms": 1.5,
    }
    return {**plain, **changes}


def ids(table: pa.Table) -> list[str]:
    """The ids, sorted: a log promises no order."""
    return sorted(table["id"].to_pylist())


class RecordLogSuite:
    """Every record that was appended is read once, at its time, as it was."""

    def test_a_new_log_is_empty_and_has_its_columns(self, log: Log) -> None:
        found = log.reader.read(*ALWAYS)
        assert found.num_rows == 0
        assert {"id", "time", "scores"} <= set(found.schema.names)

    def test_records_are_read_as_they_were_before_and_after_settling(self, log: Log) -> None:
        odd: dict[str, Any] = {
            "features": '{"é\\n":"\\u0000"}',
            "prediction": "",
            "scores": None,
            "latency_ms": 1e300,
            "attempt": 2,
        }
        log.writer.append([record("one"), record("two\r\n\u2028", **odd)])
        before = sorted(log.reader.read(*ALWAYS).to_pylist(), key=lambda row: str(row["id"]))
        log.writer.close()
        log.settle()
        after = sorted(log.reader.read(*ALWAYS).to_pylist(), key=lambda row: str(row["id"]))
        assert before == after
        assert before[0] == {**record("one"), "time": _NOON}
        assert before[1] == {**record("two\r\n\u2028", **odd), "time": _NOON}

    def test_a_window_takes_its_start_and_leaves_its_end(self, log: Log) -> None:
        step = timedelta(microseconds=1)
        log.writer.append([record(str(number), _NOON + number * step) for number in range(-1, 3)])
        for _ in range(2):
            assert ids(log.reader.read(_NOON, _NOON + 2 * step)) == ["0", "1"]
            assert ids(log.reader.read(_NOON, _NOON)) == []
            log.writer.close()
            log.settle()

    def test_times_of_other_zones_and_of_midnight_fall_on_the_right_day(self, log: Log) -> None:
        midnight = datetime(2001, 2, 4, tzinfo=UTC)
        east = timezone(timedelta(hours=9))
        log.writer.append([record("before", midnight - timedelta(microseconds=1)), record("at", midnight)])
        log.writer.append([record("east", datetime(2001, 2, 4, 8, 59, tzinfo=east))])
        log.writer.close()
        log.settle()
        assert ids(log.reader.read(midnight, midnight + timedelta(days=1))) == ["at"]
        assert ids(log.reader.read(midnight - timedelta(days=1), midnight)) == ["before", "east"]
        assert ids(log.reader.read(midnight.astimezone(east), (midnight + timedelta(1)).astimezone(east))) == ["at"]

    def test_the_far_past_and_the_far_future_are_kept(self, log: Log) -> None:
        times = {
            "first": ALWAYS[0],
            "early": datetime(476, 9, 4, tzinfo=UTC),
            "late": datetime(9999, 12, 31, tzinfo=UTC),
        }
        log.writer.append([record(name, time) for name, time in times.items()])
        log.writer.close()
        log.settle()
        assert ids(log.reader.read(*ALWAYS)) == ["early", "first", "late"]
        assert ids(log.reader.read(datetime(400, 1, 1, tzinfo=UTC), datetime(500, 1, 1, tzinfo=UTC))) == ["early"]
        assert ids(log.reader.read(ALWAYS[0], datetime(2, 1, 1, tzinfo=UTC))) == ["first"]

    def test_times_that_go_backwards_lose_nothing(self, log: Log) -> None:
        for number in range(20):
            log.writer.append([record(f"{number:02}", _NOON - timedelta(days=number))])
            if number % 5 == 4:
                log.writer.close()
                log.settle()
        assert ids(log.reader.read(*ALWAYS)) == [f"{number:02}" for number in range(20)]

    def test_the_same_id_twice_is_two_records_for_the_reader_to_judge(self, log: Log) -> None:
        log.writer.append([record("one"), record("one", attempt=2)])
        log.writer.append([record("one", shadow=True)])
        log.writer.append([])
        log.writer.close()
        log.settle()
        log.settle()
        assert ids(log.reader.read(*ALWAYS)) == ["one"] * 3

    def test_writing_goes_on_after_closing(self, log: Log) -> None:
        log.writer.append([record("one")])
        log.writer.close()
        log.writer.close()
        log.settle()
        log.writer.append([record("two")])
        assert ids(log.reader.read(*ALWAYS)) == ["one", "two"]
