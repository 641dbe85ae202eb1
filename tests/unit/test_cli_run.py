"""`roadline run` and `roadline validate`: what they print, what they write, and how they refuse."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import simulator
from simulator.cli import main, options, simulate
from simulator.errors import OutputError
from simulator.report import outputs
from simulator.report.files import new_file
from simulator.report.run_sheet import run_sheet
from simulator.report.verdict import deadline_sentence

Run = Callable[..., tuple[int, str, str]]

SMALL = """\
name: small
title: A short drive
chip: thor-t5000
runtime: tensorrt-edge-llm
streams:
  model: {workload: qwen3-0.6b, precision: nvfp4, rate: 10 Hz, deadline: 100 ms, policy: drop-if-busy,
          prompt_tokens: 16, decode_tokens: 2}
duration: 150 ms
"""

ALONE = ("--chip", "thor-t5000", "--workload", "qwen3-0.6b", "--prompt", "16", "--decode", "2")

ROWS = """\
chip,runtime,workload,precision,phase,prompt_tokens,context_tokens,value,unit,source,fitted,note
thor-t5000,tensorrt-edge-llm,qwen3-0.6b,nvfp4,decode,,16,250,tok/s,me,no,
thor-t5000,tensorrt-edge-llm,qwen3-0.6b,nvfp4,prefill,16,,5,ms,me,yes,seen
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder that holds a small scenario and two measured rows: exit code, output and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("ROADLINE_CATALOGUE", raising=False)
    Path("small.yaml").write_text(SMALL)
    Path("rows.csv").write_text(ROWS)

    def run_command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def files() -> set[str]:
    """Everything below the working folder that no test starts with, hidden files too."""
    return {str(path) for path in Path().rglob("*")} - {"small.yaml", "rows.csv"}


# What is printed


def test_json_has_the_promised_keys_and_its_parts_sum_up(run: Run) -> None:
    code, output, errors = run("run", "small.yaml", "--json")
    assert (code, errors) == (0, "")
    result = json.loads(output)
    promised = """schema chip workload runtime precision engine seed latency_s ttft_s tpot_s tokens_per_s energy_j
                  average_power_w tasks wall_s phases units channels attribution"""
    assert result.keys() >= set(promised.split())
    assert result["schema"] == "roadline.run/1"
    assert (result["chip"], result["workload"], result["precision"]) == ("thor-t5000", "qwen3-0.6b", "nvfp4")
    prefill, decode = result["phases"]
    keys = {"name", "tokens", "latency_s", "lower_bound_s", "bound_by", "flops", "dram_bytes", "energy_j"}
    assert prefill.keys() >= keys
    assert (prefill["name"], prefill["tokens"], decode["name"], decode["tokens"]) == ("prefill", 16, "decode", 2)
    assert all(unit.keys() >= {"name", "busy_s", "utilization"} for unit in result["units"])
    assert all(channel.keys() >= {"name", "bytes", "utilization"} for channel in result["channels"])
    assert sum(result["attribution"].values()) == pytest.approx(result["latency_s"], rel=1e-12)
    assert result["tokens_per_s"] == pytest.approx(2 / decode["latency_s"])
    assert result["ttft_s"] + 2 * result["tpot_s"] == pytest.approx(result["latency_s"])


def test_json_is_exactly_the_result_from_python(run: Run) -> None:
    printed = json.loads(run("run", *ALONE, "--precision", "nvfp4", "--json")[1])
    result = simulator.run("thor-t5000", "qwen3-0.6b", precision="nvfp4", prompt_tokens=16, decode_tokens=2).to_dict()
    assert printed.pop("wall_s") > 0
    del result["wall_s"]
    assert printed == json.loads(json.dumps(result))


def test_the_options_reach_the_run(run: Run) -> None:
    words = (
        "--runtime",
        "ideal",
        "--precision",
        "w4a16",
        "--set",
        "dram.rate=4000 MT/s",
        "--check",
        "--engine",
        "auto",
    )
    code, output, _ = run("run", *ALONE, *words, "--json")
    assert code == 0
    result = json.loads(output)
    assert (result["runtime"], result["precision"]) == ("ideal", "w4a16")
    # Half a giga-parameter in 4 bits and 16-bit vectors beside it: no less than 0.2 GB per token at 128 GB/s.
    assert result["phases"][1]["latency_s"] > 2 * 0.2 / 128
    assert any(row["number"] == "chip.dram.rate" and row["source"] == "set by the user" for row in result["uncertain"])


def test_progress_goes_to_stderr_and_is_wiped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (simulate, options):
        monkeypatch.setattr(module, "is_terminal", lambda: True)
    for words in (("run", "small.yaml"), ("validate", "--data", "rows.csv")):
        code, output, errors = run(*words, "--json")
        assert code == 0
        json.loads(output)
        assert errors.startswith("\r")
        assert errors.endswith("\r\033[K")


def test_the_sheet_states_the_verdict_and_ends_in_one_newline(run: Run) -> None:
    code, output, errors = run("run", "small.yaml", "--trace", "small.json")
    assert (code, errors) == (0, "wrote small.json\n")
    assert output.startswith("small: Qwen3-0.6B on NVIDIA Jetson T5000 (AGX Thor)\nruntime tensorrt-edge-llm, ")
    assert "and meets its deadline of 100 ms with " in output
    assert "were dropped" not in output  # none was
    assert "needs 20 frames" in output  # two frames in 150 ms at 10 Hz make no median
    assert "l2, peak use" in output
    assert "KiB" in output  # on-chip memories have binary prefixes, as on chip sheets and pictures
    assert 'roadline show runtime tensorrt-edge-llm".' in output
    assert output.endswith('"roadline show technology tsmc-n4".\n')


def test_a_missed_deadline_names_what_rules_it_out(run: Run) -> None:
    """The bytes of the frame at the sustained rate of the DRAM are a time that no schedule can beat."""
    Path("small.yaml").write_text(SMALL.replace("deadline: 100 ms", "deadline: 1 ms"))
    result = json.loads(run("run", "small.yaml", "--json")[1])
    dram = json.loads(run("show", "chip", "thor-t5000", "--json")[1])["dram"]
    bytes_per_s = dram["rate"]["value"] * dram["width_bits"]["value"] / 8 * dram["sustained_fraction"]["value"]
    moved = sum(phase["dram_bytes"] for phase in result["phases"])
    code, output, _ = run("run", "small.yaml")
    text = " ".join(output.split())
    assert code == 0  # a missed deadline is a result
    assert "and misses its deadline of 1 ms by " in text
    assert "Of 2 frames of model, 0 were dropped and 2 were late." in text
    assert f"To move their {moved / 1e9:.3g} GB in 1 ms the dram would have to sustain {moved / 1e9:.3g} TB/s" in text
    assert f"instead of {bytes_per_s / 1e9:.3g} GB/s." in text


ONE_STREAM = SimpleNamespace(streams=("only",))


@pytest.mark.parametrize(
    ("latency_s", "deadline_s", "sentence"),
    [
        (0.0477, 0.05, "meets its deadline of 50 ms with 2.3 ms to spare."),
        (0.05, 0.05, "meets its deadline of 50 ms with 0 s to spare."),
        (1.18, 0.1, "misses its deadline of 100 ms by 1.08 s: 11.8 times too long."),
        (0.105, 0.1, "misses its deadline of 100 ms by 5 ms."),
    ],
)
def test_deadline_sentence(latency_s: float, deadline_s: float, sentence: str) -> None:
    result = SimpleNamespace(setup=ONE_STREAM, latency_s=latency_s, deadline_s=deadline_s)
    text = deadline_sentence(result)  # type: ignore[arg-type]
    assert text.partition(" and ")[2] == sentence


def test_a_deadline_missed_by_a_hair_is_not_printed_as_equal() -> None:
    result = SimpleNamespace(setup=ONE_STREAM, latency_s=0.10002, deadline_s=0.1)
    assert deadline_sentence(result) == (  # type: ignore[arg-type]
        "The frame takes 100.02 ms and misses its deadline of 100 ms by 20 µs."
    )
    result.deadline_s = None
    assert deadline_sentence(result) == "The frame takes 100 ms; it has no deadline."  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["alpamayo-thor-10hz", "pi0.5-thor-20hz", "planner-and-cabin-thor", "qwen3-4b-cabin-orin", "olmoe-thor",
     "olmoe-hypo-moe", "qwen3-30b-a3b-thor", "qwen3-30b-a3b-hypo-moe"],
)  # fmt: skip
def test_the_sheet_of_every_scenario_fits_its_width_and_breaks_no_word(name: str) -> None:
    """With one short frame per stream: the columns are as wide as those of the whole run."""
    scenario = simulator.load_scenario(name)
    streams = {}
    for stream_name, stream in scenario.streams.items():
        phases = {phase.phase for phase in simulator.load_workload(stream.workload).pipeline}
        short = {"prefill": {"prompt_tokens": 16}, "decode": {"decode_tokens": 2}}
        update = {key: value for phase in phases & short.keys() for key, value in short[phase].items()}
        streams[stream_name] = stream.model_copy(update={**update, "offset": 0.0})
    result = simulator.run_scenario(scenario.model_copy(update={"streams": streams, "duration": 1e-3}))
    for width in (100, 80):
        sheet = run_sheet(result, width)
        assert max(map(len, sheet.splitlines())) <= width
        words = {word.strip() for line in sheet.splitlines() for word in line.split()}
        assert words >= {"phase", "latency", "TFLOP", "utilisation", "gpu.matrix", *(p.name for p in result.phases)}


def test_a_narrow_terminal_gets_a_narrow_sheet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    code, output, _ = run("run", "small.yaml")
    assert code == 0
    assert max(map(len, output.splitlines())) <= 60
    assert {"prefill", "decode", "DRAM", "TFLOP", "gpu.matrix"} <= set(output.split())


def test_help_shows_examples_on_lines_of_their_own_and_every_option(run: Run) -> None:
    code, output, errors = run("run", "--help")
    assert (code, errors) == (0, "")
    assert "\n  roadline run alpamayo-thor-10hz --trace out/run.perfetto-trace\n" in output
    assert "\\b" not in output
    for option in ("--chip", "--workload", "--runtime", "--precision", "--prompt", "--decode", "--engine", "--check",
                   "--trace", "--plot", "--roofline", "--catalogue", "--set", "--json"):  # fmt: skip
        assert f"\n  {option} " in output
    assert "ui.perfetto.dev" in output


# How wrong input is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Error: name a scenario, or a chip and a workload: --chip NAME --workload NAME\n"),
        (("--chip", "thor-t5000"), "Error: name a scenario, or a chip and a workload: --chip NAME --workload NAME\n"),
        (
            ("small.yaml", "--chip", "orin-x", "--prompt", "4"),
            "Error: a scenario names its own chip and streams, so it does not go with --chip, --prompt: "
                "its file says that in chip, streams.NAME.prompt_tokens\n",
        ),
        ((*ALONE, "--prompt", "0"), "Error: Invalid value for '--prompt': 0 is not in the range x>=1.\n"),
        (("alpamayo-thor-10h",), '  Hint: did you mean "alpamayo-thor-10hz"?\n'),
        ((*ALONE, "--runtime", "tensorrt-edge"), '  Hint: did you mean "tensorrt-edge-llm"?\n'),
        (
            (*ALONE, "--precision", "fp5"),
            "Error: precision: must be one of fp32, fp16, bf16, fp8, w8a8, w8a8-static, w8a16, w4a16, w4a8, nvfp4, "
            'mxfp4, mxfp8, int8, int4, q8_0, q4_0, got "fp5"\n'
            '  Hint: did you mean "fp8"?\n',
        ),
        (
            (*ALONE, "--set", "dram.rate=9600 GB/s"),
            'Error: override  dram.rate: must be a quantity in T/s, got "9600 GB/s", which is in B/s\n'
            '  Hint: write a number and a unit, such as "6400 MT/s"\n',
        ),
        (
            (*ALONE, "--set", "dram.rat=9600 MT/s"),
            "Error: override  dram.rat: must be the path of a field, got one that does not exist\n"
            '  Hint: did you mean "dram.rate"?\n',
        ),
        (
            (*ALONE, "--set", "dram.capacity=100 MB"),
            "  Hint: a precision with fewer bits, a shorter prompt, or more DRAM (dram.capacity)\n",
        ),
        (("missing.yaml",), "Error: missing.yaml  cannot be read: No such file or directory\n"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_message_that_ends_in_the_remedy(run: Run, words: tuple[str, ...], message: str) -> None:
    code, output, errors = run("run", *words)
    assert (code, output) == (2, "")
    assert errors.endswith(message)
    assert errors.count("Error:") == 1
    assert files() == set()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("10 Hz", "0 Hz", 'small.yaml:6  streams.model.rate: must be above zero, got "0 Hz"'),
        ("10 Hz", ".nan", "small.yaml:6  streams.model.rate: must be a finite number, got .nan"),
        ("150 ms", "0 s", 'small.yaml:8  duration: must be above zero, got "0 s"'),
        ("duration: 150 ms", "duration: 1 s\nduration: 1 s",
         "small.yaml:9  duration: must be given once, got it again (first at small.yaml:8)"),
        ("drop-if-busy", "drop",
         'small.yaml:6  streams.model.policy: must be one of drop-if-busy, latest, fifo, got "drop"'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_scenario_is_shown_with_file_line_and_field(run: Run, old: str, new: str, message: str) -> None:
    Path("small.yaml").write_text(SMALL.replace(old, new))
    assert run("run", "small.yaml") == (2, "", f"Error: {message}\n")


def test_a_chip_that_cannot_run_a_precision_is_refused_by_name(run: Run) -> None:
    code, output, errors = run("run", "--chip", "tesla-hw3", "--workload", "qwen3-0.6b", "--precision", "bf16")
    assert (code, output) == (2, "")
    assert errors.startswith("Error: precision: chip tesla-hw3 must multiply bf16")


def test_a_run_that_needs_too_much_memory_is_no_bug(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("simulator.api.run_scenario", fail)
    code, output, errors = run("run", "small.yaml")
    assert (code, output) == (2, "")
    assert errors == (
        "Error: this needs more memory than there is.\n  Hint: fewer frames (rate, duration) or fewer tokens\n"
    )


def test_a_closed_stderr_does_not_stop_a_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert run("run", "small.yaml")[0] == 0


# What is written


@pytest.fixture
def no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that begins is a bug."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("simulated before the outputs were checked")

    monkeypatch.setattr("simulator.api.run_scenario", fail)


@pytest.mark.usefixtures("no_simulation")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--trace", "x.txt"), 'x.txt: a trace must end in .json, .perfetto-trace, .pftrace, .pb, got ".txt"'),
        (("--plot", "x"), "x: a picture must end in .png, .svg, .pdf, got no suffix"),
        (("--roofline", "x.jpg"), 'x.jpg: a picture must end in .png, .svg, .pdf, got ".jpg"'),
        (("--plot", "folder.png"), "folder.png: must be a file that can be written, is a folder or a device"),
        (("--trace", "small.yaml/x.json"), "small.yaml/x.json: cannot be written: Not a directory"),
        (("--plot", "x.png", "--roofline", "./x.png"), "x.png: must be the file of one output, got it twice"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_run(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    Path("folder.png").mkdir()
    code, output, errors = run("run", "small.yaml", *words)
    assert (code, output) == (2, "")
    assert errors.splitlines()[0] == f"Error: {message}"
    assert files() == {"folder.png"}


@pytest.mark.usefixtures("no_simulation")
def test_a_folder_that_takes_no_file_is_refused_before_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outputs, "TemporaryFile", refuse)  # tests may run as root, who is refused nothing
    code, output, errors = run("run", "small.yaml", "--trace", "new/x.json")
    assert (code, output) == (2, "")
    assert errors == (
        "Error: new/x.json: cannot be written: Permission denied\n"
        "  Hint: name another file, or make its folder writable\n"
    )


@pytest.mark.usefixtures("no_simulation")
def test_a_missing_package_is_named_before_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "find_spec", lambda name: None)
    code, output, errors = run("run", "small.yaml", "--trace", "x.perfetto-trace")
    assert (code, output) == (2, "")
    assert errors == (
        "Error: this needs the package perfetto, which is not installed.\n  Hint: pip install \"roadline[trace]\"\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 2, "Error: new/x.png: cannot be written: No space left on device"),
        (OutputError("full"), 2, "Error: full"),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_an_output_that_fails_midway_leaves_what_is_complete_and_nothing_else(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def draw(*_: object, **__: object) -> None:
        with new_file("new/x.png") as file:
            file.write(b"half of it")
            raise error

    monkeypatch.setattr("simulator.report.timeline_plot.draw_timeline", draw)
    found_code, output, errors = run("run", "small.yaml", "--trace", "x.json", "--plot", "new/x.png")
    assert found_code == code
    assert output.startswith("small: ")  # the result is not lost with its picture
    lines = errors.splitlines()
    assert lines[:2] == ["wrote x.json", message]
    assert files() == {"x.json", "new"}
    json.loads(Path("x.json").read_text())


def test_interrupting_a_run_wipes_the_line_and_leaves_no_file(tmp_path: Path) -> None:
    """In a terminal, as a user has it: SIGINT once the first tasks have been counted."""
    pty = pytest.importorskip("pty")
    terminal, theirs = pty.openpty()
    words = ["run", "alpamayo-thor-10hz", "--engine", "reference", "--trace", "x.json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(Path(simulator.__file__).parents[1])},
    )
    os.close(theirs)
    seen = b""
    while b"000 tasks" not in seen:
        seen += os.read(terminal, 4096)
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(terminal, 4096):
            seen += chunk
    except OSError:  # Linux says so when the other side has been closed
        pass
    os.close(terminal)
    assert process.wait() == 130
    assert seen.endswith(b"tasks \r\033[KInterrupted.\r\n")
    assert list(tmp_path.iterdir()) == []


# Measured rows


def test_validate_as_json_has_a_signed_error_per_row_and_sets_with_and_without_fitted_rows(run: Run) -> None:
    code, output, errors = run("validate", "--data", "rows.csv", "--json")
    assert (code, errors) == (0, "")
    validated = json.loads(output)
    assert validated["schema"] == "roadline.validate/1"
    decode, prefill = validated["rows"]
    assert (decode["value"], decode["unit"], prefill["value"], prefill["unit"]) == (250, "tok/s", 5, "ms")
    assert (decode["fitted"], prefill["fitted"], prefill["note"]) == (False, True, "seen")
    assert decode["error"] == pytest.approx(decode["value"] / decode["simulated"] - 1)  # of a rate, the error of time
    assert prefill["error"] == pytest.approx(prefill["simulated"] / prefill["value"] - 1)
    everything, unseen = validated["sets"]
    first, second = decode["error"], prefill["error"]
    assert (everything["name"], everything["rows"], everything["fitted"]) == ("all", 2, 1)
    assert everything["mape"] == pytest.approx((abs(first) + abs(second)) / 2)
    assert everything["bias"] == pytest.approx((first + second) / 2)
    assert everything["worst"] == max(first, second, key=abs)
    assert everything["p90"] == max(abs(first), abs(second))
    assert everything["kendall_tau"] in (-1, 1)
    assert (unseen["name"], unseen["rows"], unseen["fitted"]) == ("not fitted", 1, 0)
    assert unseen["bias"] == pytest.approx(first)


@pytest.mark.parametrize("columns", ["100", "80"])
def test_validate_marks_fitted_rows_and_says_what_the_mark_means(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, output, _ = run("validate", "--data", "rows.csv")
    assert code == 0
    lines = output.splitlines()
    assert max(map(len, lines)) <= int(columns)
    (decode,) = (line for line in lines if " decode " in line)
    (prefill,) = (line for line in lines if " prefill " in line)
    assert "qwen3-0.6b" in decode
    assert "4 ms" in decode  # 250 tokens per second
    assert decode.endswith(" %")
    assert prefill.endswith(" *")
    assert any(line.startswith("not fitted: 1 row, mean absolute error ") for line in lines)
    assert any(line.startswith("* a constant of the chip or the runtime was fitted") for line in lines)


def test_no_measured_row_is_said_in_words(run: Run) -> None:
    Path("rows.csv").write_text(ROWS.splitlines()[0])
    code, output, _ = run("validate", "--data", "rows.csv")
    assert code == 0
    assert output == "There is no row.\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "decode",
            "decoding",
            'rows.csv:2  phase: must be total or one of those of qwen3-0.6b (prefill, decode), got "decoding"',
        ),
        ("tok/s", "s", 'rows.csv:2  unit: must be ms or tok/s, got "s"'),
        (",16,250", ",16,nan", 'rows.csv:2  value: must be a number above zero, got "nan"'),
        (",16,250", ",many,250", 'rows.csv:2  context_tokens: must be a number above zero, got "many"'),
    ],
)
def test_a_mistake_in_a_measured_row_is_shown_with_file_and_line(run: Run, old: str, new: str, message: str) -> None:
    Path("rows.csv").write_text(ROWS.replace(old, new, 1))
    assert run("validate", "--data", "rows.csv") == (2, "", f"Error: {message}\n")


def test_measured_rows_that_cannot_be_read_are_refused(run: Run) -> None:
    code, output, errors = run("validate", "--data", "nowhere.csv")
    assert (code, output) == (2, "")
    assert errors == "Error: nowhere.csv: must be a CSV file that can be read, got: No such file or directory\n"
