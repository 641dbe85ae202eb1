"""A tiny catalogue: one small object of each kind, for tests that change files."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from simulator.catalog import Catalog, Kind
from simulator.errors import SpecError

# No test asserts a wall-clock time, and hypothesis would: the first example may have to compile machine code.
settings.register_profile("roadline", deadline=None)
settings.load_profile("roadline")


@pytest.fixture(autouse=True)
def _a_terminal_of_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed does not depend on the window in which the tests run."""
    monkeypatch.setenv("COLUMNS", "100")


CHIP = """\
# a chip as small as a chip can be
name: tiny
title: Tiny chip
process: paper
usual_runtime: plain
accelerator: npu
clusters:
  npu:
    count: {value: 2, source: me, status: assumed}
    clock: {value: 1 GHz, source: me, status: datasheet}
    matrix:
      native:
        macs_per_cycle:
          fp16: {value: 512, source: me, status: measured, note: "read from [a table]"}
          int8: {value: 1024, source: me, status: derived}
        tile_m: {value: 16, source: me, status: recalled}
        tile_n: {value: 16, source: me, status: datasheet}
        tile_k: {value: 16, source: me, status: datasheet}
    vector:
      lanes: {value: 64, source: me, status: datasheet}
      special_per_cycle: {value: 16, source: me, status: datasheet}
    sram:
      capacity: {value: 1 MiB, source: me, status: datasheet}
dram:
  type: LPDDR5
  width_bits: {value: 64, source: me, status: datasheet}
  rate: {value: 6400 MT/s, source: me, status: datasheet}
  capacity: {value: 8 GB, source: me, status: datasheet}
  sustained_fraction:
    value: 0.75
    source: me
    status: inferred
masters:
  npu: {}
  cpu: {weight: 0.5}
host:
  clock: {value: 2 GHz, source: me, status: datasheet}
"""

MEMORY = """\
name: cells
title: A few cells
source: me
status: datasheet
channel_bits: 16
burst_length: 16
banks: 16
bank_groups: 4
row: 2 KiB
usual_rate: 6400 MT/s
t_rcd: 18 ns
t_rp: 18 ns
t_ras: 42 ns
t_cl: 20 ns
t_ccd_l: 5 ns
t_rrd: 5 ns
t_faw: 20 ns
t_wr: 34 ns
t_wtr: 6 ns
t_rtw: 1 ns
t_rfc_all: 200 ns
t_rfc_bank: 100 ns
t_refi: 4 us
refresh_steps:
  - {up_to_c: 85, multiplier: 1}
  - {up_to_c: 95, multiplier: 2}
"""

RUNTIME = """\
name: plain
title: Plain software
launch: {value: 1 kcycles, source: me, status: assumed}
enqueue: {value: 10 kcycles, source: me, status: measured}
graph_phases: [decode]
prefetches_weights: true
weight_buffers: 2
fusions: []
kernels:
  fp16:
    path: native
    dtype: fp16
    achieved_fraction: {value: 0.5, source: me, status: derived}
    tile_rows: {value: 128, source: me, status: assumed}
causal_attention: {path: native, achieved_fraction: {value: 0.5, source: me, status: derived}}
full_attention: {path: native, achieved_fraction: {value: 0.5, source: me, status: derived}}
head_precision: body
kv_precision: fp16
"""

WORKLOAD = """\
name: words
title: A few words
decoder:
  source: me
  status: datasheet
  layers: 2
  hidden: 64
  heads: 4
  kv_heads: 2
  head_dim: 16
  ffn_width: 128
  ffn: swiglu
  vocabulary: 1000
  tied_head: true
pipeline:
  - {phase: prefill, tokens: 32, precision: fp16}
  - {phase: decode, tokens: 8, precision: fp16}
pipeline_source: me
pipeline_status: assumed
rate: 10 Hz
deadline: 100 ms
published:
  - {chip: other, precision: fp16, phase: total, latency: 2 ms, source: me, status: press}
"""

SCENARIO = """\
name: drive
title: A short drive
chip: tiny
runtime: plain
streams:
  front: {workload: words, rate: 10 Hz, deadline: 100 ms, policy: latest}
background:
  cameras: {master: cpu, bandwidth: {value: 2 GB/s, source: me, status: assumed}}
duration: 1 s
"""

STUDY = """\
name: shapes
title: Small shapes
chip: tiny
runtime: plain
prompt_tokens: 32
decode_tokens: 8
precision: fp16
source: me
status: assumed
space:
  layers: [1, 2, 4]
  hidden: [48, 64]
  ffn_ratio: {values: [1, 8/3], source: other, status: press, note: "read from [a table]"}
  kv_heads: [1, 2, heads]
fixed:
  source: me
  status: datasheet
  head_dim: 16
  vocabulary: 1000
  ffn: swiglu
  tied_head: true
rules: [layers * hidden <= 192]
objectives: [loss, total]
limits: {memory: 1 GiB}
applications:
  door: {total: 5 ms, source: me, status: press}
"""

TEXTS = {
    "chips/tiny.yaml": CHIP,
    "memories/cells.yaml": MEMORY,
    "runtimes/plain.yaml": RUNTIME,
    "workloads/words.yaml": WORKLOAD,
    "scenarios/drive.yaml": SCENARIO,
    "scenarios/shapes.yaml": STUDY,
}


class TinyCatalogue:
    """A folder with one small object of each kind, to be changed and loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in TEXTS.items():
            (folder / name).parent.mkdir(exist_ok=True)
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Makes a file."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replaces what must be in a file exactly once."""
        text = self.read(name)
        assert text.count(old) == 1, f"{old!r} must be in {name} once"
        self.write(name, text.replace(old, new))

    def catalog(self) -> Catalog:
        """The catalogue with this folder first."""
        return Catalog([self.folder])

    def message(self, kind: Kind, name: str, overrides: dict[str, Any] | None = None) -> str:
        """The message of the error that loading an object must raise."""
        with pytest.raises(SpecError) as caught:
            getattr(self.catalog(), f"load_{kind}")(name, overrides)
        return str(caught.value)


@pytest.fixture
def tiny_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyCatalogue:
    """A tiny catalogue in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROADLINE_CATALOGUE", raising=False)
    return TinyCatalogue(tmp_path)
