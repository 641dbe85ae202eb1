"""The store of a search: exact, append-only, mended after a crash, and never mixed with anything else."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import OutputError
from simulator.exploration.code_version import code_version, digest_of_sources
from simulator.exploration.outcome import Outcome
from simulator.exploration.store import Origin, ResultStore

ORIGIN = Origin("e1", "c1")
POINT = {"layers": 4, "kv_heads": "heads", "attention_window": None, "ffn_ratio": 8 / 3}


def opened(folder: Path, *, origin: Origin = ORIGIN, resume: bool = True) -> ResultStore:
    return ResultStore(folder, origin=origin, belongs_to={"study": "paper"}, resume=resume)


def known(folder: Path) -> dict[str, Outcome]:
    store = opened(folder)
    store.close()
    return store.known


def filled(folder: Path, num_points: int = 3) -> bytes:
    """The bytes of a store with points of 0, 1, ... layers that take as many seconds."""
    store = opened(folder)
    for layers in range(num_points):
        store.append({"layers": layers}, Outcome({"total_s": float(layers)}))
    store.close()
    return (folder / "results.jsonl").read_bytes()


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(OutputError) as caught:
        act()
    return str(caught.value)


def test_a_key_depends_on_every_part_of_the_point_and_of_its_origin_and_on_nothing_else() -> None:
    key = ORIGIN.key(POINT)
    assert key == ORIGIN.key(dict(reversed(POINT.items())))
    others = [POINT | {"layers": 5}, POINT | {"kv_heads": 4}, POINT | {"ffn_ratio": 2.67}, POINT | {"heads": 1}]
    keys = {key, *map(ORIGIN.key, others), Origin("e2", "c1").key(POINT), Origin("e1", "c2").key(POINT)}
    assert len(keys) == 7


def test_equal_numbers_have_equal_keys_whatever_their_type() -> None:
    alike = [4, 4.0, np.int64(4), np.float64(4.0)]
    assert len({ORIGIN.key({"layers": four, "precision": np.str_("fp16")}) for four in alike}) == 1


def test_floats_are_read_back_exactly(tmp_path: Path) -> None:
    values = {"a": 0.1 + 0.2, "b": 1 / 3, "c": 5e-324, "d": 1.7976931348623157e308, "e": 2.0}
    store = opened(tmp_path)
    store.append(POINT, Outcome(values))
    store.close()
    assert known(tmp_path) == {ORIGIN.key(POINT): Outcome(values)}


def test_an_infeasible_point_is_kept_with_its_reason_and_one_that_broke_off_is_tried_again(tmp_path: Path) -> None:
    does_not_fit = Outcome(None, "needs 9 B, has 8 B")
    store = opened(tmp_path)
    store.append({"layers": 1}, does_not_fit)
    store.append({"layers": 2}, Outcome(None, "killed", has_failed=True))
    store.append({"layers": 3}, Outcome(None, "killed", has_failed=True))
    store.append({"layers": 3}, Outcome({"total_s": 3.0}))
    store.close()
    again = opened(tmp_path)
    again.close()
    assert again.known == {
        ORIGIN.key({"layers": 1}): does_not_fit,
        ORIGIN.key({"layers": 3}): Outcome({"total_s": 3.0}),
    }
    assert again.remarks == [
        f"{tmp_path}/results.jsonl: of its results, 2 can be used again",
        f"{tmp_path}/results.jsonl: of its results, 1 are simulated again: their simulation broke off",
    ]


def test_the_first_line_says_what_the_file_is_and_whose(tmp_path: Path) -> None:
    header, line = filled(tmp_path, 1).splitlines()
    assert json.loads(header) == {"schema": "roadline-search-results/1", "belongs_to": {"study": "paper"}}
    assert json.loads(line) == {
        "key": ORIGIN.key({"layers": 0}), "code_version": "c1", "evaluator": "e1", "point": {"layers": 0},
        "values": {"total_s": 0.0},
    }  # fmt: skip


def test_a_file_that_ends_anywhere_keeps_its_whole_lines_and_goes_on_after_them(tmp_path: Path) -> None:
    text = filled(tmp_path)
    path = tmp_path / "results.jsonl"
    for size in range(len(text)):
        path.write_bytes(text[:size])
        num_whole = max(0, text[:size].count(b"\n") - 1)
        store = opened(tmp_path)
        assert store.known == {ORIGIN.key({"layers": n}): Outcome({"total_s": float(n)}) for n in range(num_whole)}
        is_torn = text[:size].rpartition(b"\n")[2] != b""
        assert any("half written" in remark for remark in store.remarks) == is_torn
        for layers in range(num_whole, 3):
            store.append({"layers": layers}, Outcome({"total_s": float(layers)}))
        store.close()
        assert path.read_bytes() == text


def test_results_of_other_settings_or_other_code_are_skipped_counted_and_kept(tmp_path: Path) -> None:
    text = filled(tmp_path)
    other_code = opened(tmp_path, origin=Origin("e1", "c2"))
    assert other_code.known == {}
    assert other_code.remarks == [
        f"{tmp_path}/results.jsonl: of its results, 3 are skipped: another version of Roadline made them"
    ]
    other_code.append({"layers": 0}, Outcome({"total_s": 0.5}))
    other_code.close()
    other_chip = opened(tmp_path, origin=Origin("e2", "c1"))
    assert other_chip.remarks == [
        f"{tmp_path}/results.jsonl: of its results, 4 are skipped: they belong to other settings or another study"
    ]
    other_chip.close()
    assert (tmp_path / "results.jsonl").read_bytes().startswith(text)
    assert len(known(tmp_path)) == 3


@pytest.mark.parametrize(
    "line",
    [
        b"\0" * 40,
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"key": 1, "values": {}}',
        b'{"key": "k"}',
        b'{"key": "k", "values": {"a": "b"}}',
    ],
)
def test_a_line_that_cannot_be_read_costs_only_itself(tmp_path: Path, line: bytes) -> None:
    header, first, *rest = filled(tmp_path).splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join([header, first, line + b"\n", *rest]))
    store = opened(tmp_path)
    store.close()
    assert len(store.known) == 3
    assert store.remarks[-1].endswith("1 are skipped: their lines cannot be read")


def test_a_folder_with_results_must_be_asked_for_and_stays_as_it_is(tmp_path: Path) -> None:
    text = filled(tmp_path)
    assert refusal(lambda: opened(tmp_path, resume=False)) == (
        f"{tmp_path}/results.jsonl: holds 3 results of an earlier search\n"
        "  Hint: use --resume to go on with it, or name another folder"
    )
    assert (tmp_path / "results.jsonl").read_bytes() == text


def test_a_folder_in_which_nothing_was_finished_can_be_used_without_asking(tmp_path: Path) -> None:
    filled(tmp_path, 0)
    opened(tmp_path, resume=False).close()


@pytest.mark.parametrize("text", ["name: tiny\n", "{}\n", "notes", '{"key": "k"}\n'])
def test_a_file_of_something_else_is_refused_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    assert "is not a file of search results" in refusal(lambda: opened(tmp_path))
    assert path.read_text() == text


def test_a_file_of_a_later_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"schema": "roadline-search-results/2"}\n')
    assert "was written by another version of Roadline" in refusal(lambda: opened(tmp_path))


def test_two_runs_cannot_use_one_folder_at_the_same_time(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert refusal(lambda: opened(tmp_path)) == (
        f"{tmp_path}: another search is running in this folder\n  Hint: wait until it has ended, or name another folder"
    )
    first.close()
    opened(tmp_path).close()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert refusal(lambda: opened(tmp_path / "taken")).startswith(f"{tmp_path}/taken: must be a folder for results")
    assert "Not a directory" in refusal(lambda: opened(tmp_path / "taken" / "below"))
    (tmp_path / "results.jsonl").mkdir()
    assert "Is a directory" in refusal(lambda: opened(tmp_path))


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        message = refusal(lambda: opened(tmp_path))
    assert message == (
        f"{tmp_path}/results.jsonl: cannot be written: Read-only file system\n"
        "  Hint: name another folder, or make it writable"
    )


def test_a_line_for_which_the_disk_has_no_room_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes half of the line and refuses the rest."""
    store = opened(tmp_path)
    store.append({"layers": 0}, Outcome({"total_s": 0.0}))
    before = (tmp_path / "results.jsonl").read_bytes()
    write, num_writes = os.write, 0

    def half(descriptor: int, line: bytes) -> int:
        nonlocal num_writes
        num_writes += 1
        if num_writes > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, line[: len(line) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        message = refusal(lambda: store.append({"layers": 1}, Outcome({"total_s": 1.0})))
    assert message.startswith(
        f"{tmp_path}/results.jsonl: cannot be written: No space left on device\n  Hint: make room"
    )
    assert (tmp_path / "results.jsonl").read_bytes() == before
    store.append({"layers": 1}, Outcome({"total_s": 1.0}))  # there is room again
    store.close()
    assert len(known(tmp_path)) == 2


def test_the_code_version_changes_with_the_content_and_the_name_of_every_source_file_only(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "engine").mkdir(parents=True)
    seen = []
    for name, content in [("a.py", "x"), ("a.py", "y"), ("engine/b.py", ""), ("engine/b.py", "x")]:
        (package / name).write_text(content)
        seen.append(digest_of_sources(package))
    (package / "engine/b.py").rename(package / "engine/c.py")
    seen.append(digest_of_sources(package))
    assert len(set(seen)) == 5
    (package / "notes.txt").write_text("x")
    assert digest_of_sources(package) == seen[-1]
    assert len(code_version()) == 16
