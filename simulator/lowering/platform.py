"""Platform: a chip and a runtime resolved into the numbers that lowering needs and the resources of a Program.

What becomes of the fields of the chip is in `simulator.lowering.resources`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from simulator.chip import READ_STREAM, Access, Chip, MatrixPath
from simulator.errors import Infeasible, SpecError, nearest
from simulator.lowering.dram import STORE
from simulator.lowering.resources import resources_of
from simulator.precision import DTYPE_BITS, Dtype, Precision, precision
from simulator.program.program import Resources
from simulator.runtime import Kernel, Runtime
from simulator.units import TICKS_PER_SECOND

STREAMING_SHARE = 0.5
"""Share of the local SRAM through which weights and KV stream; the other half holds activations.

A policy, not a measurement: an even split is what double-buffered kernels commonly use.
"""


@dataclass(frozen=True)
class Platform:
    """A chip with a runtime on it."""

    chip: Chip
    runtime: Runtime
    tenants: int = 1
    """Jobs that may run at the same time; each has an equal part of the on-chip memory to itself."""
    traffic: tuple[Access, ...] = ()
    """How other masters use the DRAM, each kind once."""

    # units: index in Resources.unit_names ----------------------------------------------------------------------

    MATRIX = 0
    VECTOR = 1
    LAUNCH = 2
    HOST_UNIT = 3
    # routes of the accelerator; those of other masters come after them
    LOAD_ROUTE = 0
    STORE_ROUTE = 1
    # memories
    LOCAL = 0

    @cached_property
    def resources(self) -> Resources:
        """Units, channels, masters, routes and memories of the chip."""
        return resources_of(self.chip, (READ_STREAM, STORE), self.traffic)

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
    def store_route(self) -> int:
        """The route of what the accelerator writes: that of its loads, where writing costs no more."""
        return self.LOAD_ROUTE if self.chip.dram.usage(STORE) == 1 else self.STORE_ROUTE

    def traffic_route(self, access: Access) -> int:
        """The route of a kind of `traffic`."""
        return self.STORE_ROUTE + 1 + self.traffic.index(access)

    @cached_property
    def ticks_per_loaded_byte(self) -> float:
        """Ticks of a byte that is loaded alone."""
        return self._ticks_per_byte(self.LOAD_ROUTE)

    @cached_property
    def ticks_per_stored_byte(self) -> float:
        """Ticks of a byte that is stored alone."""
        return self._ticks_per_byte(self.store_route)

    def _ticks_per_byte(self, route: int) -> float:
        slowest = max(ticks[route == self.STORE_ROUTE] for ticks in self.channel_ticks_per_byte)
        return max(TICKS_PER_SECOND / self.rate_cap_bytes_per_s, slowest)

    @cached_property
    def channel_ticks_per_byte(self) -> tuple[tuple[float, float], ...]:
        """Of each channel on the way to the DRAM, the ticks that a loaded and a stored byte take of it."""
        resources, rows = self.resources, []
        for channel in resources.route(self.LOAD_ROUTE):
            mine = (resources.share_master == self.accelerator_master) & (resources.share_channel == channel)
            hard = mine & ~resources.share_is_soft
            share = float(resources.share_maximum[hard][0]) if hard.any() else 1.0
            ticks = TICKS_PER_SECOND / (share * float(resources.channel_bytes_per_s[channel]))
            usage = self._usage(self.store_route, channel)
            rows.append((ticks, usage * ticks))
        return tuple(rows)

    def _usage(self, route: int, channel: int) -> float:
        start, stop = self.resources.route_offsets[route : route + 2]
        crossed = self.resources.route_channels[start:stop] == channel
        return float(self.resources.route_usage[start:stop][crossed][0])

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
        streaming = int(self.chip.cluster_sram_bytes * STREAMING_SHARE)
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
        """(memory, bytes) where a tenant's activations may stay: shared levels, then half of the local SRAM."""
        local = self.chip.cluster_sram_bytes - int(self.chip.cluster_sram_bytes * STREAMING_SHARE)
        rooms = [(index + 1, int(level.capacity.value)) for index, level in enumerate(self.chip.sram.values())]
        return tuple((memory, size_bytes // self.tenants) for memory, size_bytes in [*rooms, (self.LOCAL, local)])

    @cached_property
    def activation_room_bytes(self) -> int:
        """All of that room together."""
        return sum(size_bytes for _, size_bytes in self.activation_room)

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

    def attention_dtype(self, path: MatrixPath, kernel: Kernel) -> Dtype:
        """The dtype of attention: a 16-bit format, or that of the matrices on a chip that has no 16-bit format."""
        for candidate in ("fp16", "bf16"):
            if candidate in path.macs_per_cycle:
                return candidate
        return self.dtype(path, kernel.dtype)

    def head_precision(self, body: Precision) -> Precision:
        """The precision of the LM head under this runtime."""
        return body if self.runtime.head_precision == "body" else precision(self.runtime.head_precision)

    @cached_property
    def kv_bytes(self) -> int:
        """Bytes of one element of the KV cache."""
        return int(precision(self.runtime.kv_precision).matrix_bytes(1, 1))
