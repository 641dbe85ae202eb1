"""Platform: a chip and a runtime resolved into the numbers that lowering needs and the resources of a Program.

This is the only place where a chip's fields become units, channels, masters and memories.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.chip import LASTING, Chip, Lasting, MatrixPath
from simulator.errors import Infeasible, SpecError, nearest
from simulator.precision import DTYPE_BITS, Dtype, Precision, precision
from simulator.program.program import Resources
from simulator.runtime import Kernel, Runtime
from simulator.variants import Size

DRAM, NOC, SRAM = "dram", "noc", "sram"
HOST = "host"


@dataclass(frozen=True)
class Platform:
    """A chip with a runtime on it."""

    chip: Chip
    runtime: Runtime
    tenants: int = 1
    """Jobs that may run at the same time; each has an equal part of the on-chip memory to itself."""

    # units: index in Resources.unit_names ----------------------------------------------------------------------

    MATRIX = 0
    VECTOR = 1
    LAUNCH = 2
    HOST_UNIT = 3
    ROUTING_UNIT = 4
    # routes
    ACCELERATOR_ROUTE = 0
    BACKGROUND_ROUTE = 1
    SRAM_ROUTE = 2
    # memories
    LOCAL = 0

    @cached_property
    def resources(self) -> Resources:
        """Units, channels, masters, routes and memories of the chip."""
        chip, accelerator = self.chip, self.chip.accelerator
        clock = chip.cluster.clock.value
        channels = {DRAM: chip.dram.sustained_bytes_per_s}
        if chip.noc is not None:
            channels[NOC] = chip.noc.sustained_bytes_per_s
        if math.isfinite(self.sram_bytes_per_s):
            channels[SRAM] = self.sram_bytes_per_s
        names = list(channels)
        routes = [[names.index(name) for name in (NOC, DRAM) if name in channels], [names.index(DRAM)]]
        routes += [[names.index(SRAM)]] if SRAM in channels else []
        shared = [(name, master) for name, master in chip.masters.items()
                  if master.minimum_share > 0 or master.maximum_share < 1]  # fmt: skip
        masters = list(chip.masters)
        return Resources(
            unit_names=(f"{accelerator}.matrix", f"{accelerator}.vector", f"{accelerator}.launch", HOST),
            unit_clock_hz=np.array([clock, clock, clock, chip.host.clock.value]),
            unit_slots=np.ones(4, dtype=np.int64),
            channel_names=tuple(names),
            channel_bytes_per_s=np.array(list(channels.values())),
            master_names=tuple(masters),
            master_weight=np.array([master.weight for master in chip.masters.values()]),
            share_master=np.array([masters.index(name) for name, _ in shared], dtype=np.int64),
            share_channel=np.full(len(shared), names.index(DRAM), dtype=np.int64),
            share_minimum=np.array([master.minimum_share for _, master in shared], dtype=np.float64),
            share_maximum=np.array([master.maximum_share for _, master in shared], dtype=np.float64),
            route_offsets=np.cumsum([0, *map(len, routes)], dtype=np.int64),
            route_channels=np.array([channel for route in routes for channel in route], dtype=np.int64),
            memory_names=(f"{accelerator}.sram", *chip.sram),
            memory_bytes=np.array(
                [chip.cluster_sram_bytes, *(int(level.capacity.value) for level in chip.sram.values())], dtype=np.int64
            ),
        )

    @property
    def accelerator_master(self) -> int:
        """Index of the master on whose behalf the accelerator moves bytes."""
        return self.master(self.chip.accelerator)

    @property
    def rate_cap_bytes_per_s(self) -> float:
        """The most the accelerator's port moves."""
        cap = self.chip.masters[self.chip.accelerator].rate_cap
        return math.inf if cap is None else cap.value

    @property
    def sole_bytes_per_s(self) -> float:
        """The rate of a transfer of the accelerator that has its route to itself."""
        return min(self.rate_cap_bytes_per_s, self.route_bytes_per_s)

    @cached_property
    def route_bytes_per_s(self) -> float:
        """The most that all transfers of the accelerator together move over its route."""
        resources, rates = self.resources, []
        for channel in resources.route(self.ACCELERATOR_ROUTE):
            mine = (resources.share_master == self.accelerator_master) & (resources.share_channel == channel)
            share = float(resources.share_maximum[mine][0]) if mine.any() else 1.0
            rates.append(share * float(resources.channel_bytes_per_s[channel]))
        return min(rates)

    def master(self, name: str) -> int:
        """Index of a master.

        Raises:
            SpecError: when the chip has none of that name.
        """
        names = list(self.chip.masters)
        if name not in names:
            raise SpecError(
                f'chip {self.chip.name}: must have the master that traffic names, got "{name}"',
                hint=nearest(name, names),
            )
        return names.index(name)

    # memory plan -----------------------------------------------------------------------------------------------

    @property
    def stream_buffer_bytes(self) -> int:
        """Bytes of one buffer of one tenant that weights stream through.

        Raises:
            Infeasible: when nothing is left for a buffer.
        """
        streaming = int(self.chip.cluster_sram_bytes * self.chip.cluster.sram.split.streams)
        buffers = self.runtime.weight_buffers * self.tenants
        if streaming < buffers:
            raise Infeasible(
                f"chip {self.chip.name}: local SRAM of {streaming} B for streams does not hold {buffers} buffers",
                demand=buffers, bound=streaming, unit="B",
                hint=f"make clusters.{self.chip.accelerator}.sram.capacity larger, or run fewer frames at once",
            )  # fmt: skip
        return streaming // buffers

    @cached_property
    def activation_room(self) -> tuple[tuple[int, int], ...]:
        """(memory, bytes) where a tenant's activations may stay: shared levels, then the local SRAM."""
        local = int(self.chip.cluster_sram_bytes * self.chip.cluster.sram.split.activations)
        rooms = [(index + 1, level.activation_bytes) for index, level in enumerate(self.chip.sram.values())]
        return tuple((memory, size_bytes // self.tenants) for memory, size_bytes in [*rooms, (self.LOCAL, local)])

    @cached_property
    def activation_room_bytes(self) -> int:
        """All of that room together."""
        return sum(size_bytes for _, size_bytes in self.activation_room)

    def kept_room(self, what: Lasting) -> tuple[tuple[int, int], ...]:
        """(memory, bytes) where a tenant keeps something from step to step: the local SRAM, then a shared level."""
        local = self.chip.cluster.sram.kept_bytes(what) * round(self.chip.cluster.count.value)
        rooms = [(self.LOCAL, local)]
        rooms += [(index + 1, level.kept_bytes(what)) for index, level in enumerate(self.chip.sram.values())]
        return tuple((memory, size_bytes // self.tenants) for memory, size_bytes in rooms if size_bytes > 0)

    @property
    def keeps_something(self) -> bool:
        """Whether anything stays on the chip from step to step."""
        return any(self.kept_room(what) for what in LASTING)

    @cached_property
    def sram_bytes_per_s(self) -> float:
        """What the port of the shared level delivers that keeps something; infinite where no figure is known."""
        for level in self.chip.sram.values():
            if level.bandwidth is not None and any(level.kept_bytes(what) for what in LASTING):
                return level.bandwidth.value
        return math.inf

    # precision -------------------------------------------------------------------------------------------------

    def kernel(self, precision_name: str) -> Kernel:
        """The runtime's kernel for a precision.

        Raises:
            SpecError: when the runtime has none.
        """
        kernel = self.runtime.kernels.get(precision_name)
        if kernel is None:
            raise SpecError(
                f'precision: runtime {self.runtime.name} must have a kernel for it, got "{precision_name}"',
                hint=f"it has {', '.join(self.runtime.kernels)}",
            )
        return kernel

    def dtype(self, path: MatrixPath, wanted: Dtype) -> Dtype:
        """The dtype in which a path multiplies what should be multiplied in `wanted`.

        A path without it computes in its 16-bit format, to which operands are converted.

        Raises:
            SpecError: when the path has neither.
        """
        for candidate in (wanted, "fp16", "bf16"):
            if candidate in path.macs_per_cycle and DTYPE_BITS[candidate] >= DTYPE_BITS[wanted]:
                return candidate
        or_wider = " or a 16-bit format" if DTYPE_BITS[wanted] <= 16 else ""
        raise SpecError(
            f"precision: chip {self.chip.name} must multiply {wanted}{or_wider}, "
            f"got a matrix engine with {', '.join(path.macs_per_cycle)} only",
            hint="choose a precision whose weights and activations the chip has, such as w8a8 for int8",
        )

    def multiplied_in(self, used: Precision) -> Dtype:
        """The dtype in which matrices of a precision are multiplied.

        Raises:
            SpecError: when the platform cannot run the precision.
        """
        kernel = self.kernel(used.name)
        return self.dtype(self.chip.cluster.path(kernel.path), kernel.dtype)

    def attention_dtype(self, path: MatrixPath, kernel: Kernel) -> Dtype:
        """The dtype of attention: a 16-bit format, or that of the matrices on a chip that has no 16-bit format."""
        for candidate in ("fp16", "bf16"):
            if candidate in path.macs_per_cycle:
                return candidate
        return self.dtype(path, kernel.dtype)

    def attention_multiplied_in(self, body: Precision) -> Dtype:
        """The dtype in which causal attention is multiplied beside matrices of a precision.

        Raises:
            SpecError: when the platform cannot run the precision.
        """
        path = self.chip.cluster.path(self.runtime.causal_attention.path)
        return self.attention_dtype(path, self.kernel(body.name))

    def head_precision(self, body: Precision) -> Precision:
        """The precision of the LM head under this runtime."""
        return body if self.runtime.head_precision == "body" else precision(self.runtime.head_precision)

    @cached_property
    def kv_bytes(self) -> int:
        """Bytes of one element of the KV cache."""
        return int(precision(self.runtime.kv_precision).matrix_bytes(1, 1))

    def cache_bytes(self, elements: Size) -> Size:
        """Bytes of elements of the KV cache."""
        return elements * self.kv_bytes
