"""Platform: a chip and a runtime resolved into the numbers that lowering needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from simulator.chip import LASTING, Chip, Lasting, MatrixPath
from simulator.errors import Infeasible, SpecError, nearest
from simulator.graph import Convolution, MatMul
from simulator.lowering.resources import (
    HOST_UNIT,
    LAUNCH_UNIT,
    LINK_UNIT,
    LOAD_ROUTE,
    LOCAL_MEMORY,
    MATRIX_UNIT,
    MODE_UNIT,
    ROUTING_UNIT,
    SRAM_ROUTE,
    STORE_ROUTE,
    VECTOR_UNIT,
    Place,
    Site,
    sites,
    sram_bytes_per_s,
)
from simulator.precision import DTYPE_BITS, Dtype, Precision, precision
from simulator.program.program import Resources
from simulator.runtime import Kernel, Runtime
from simulator.units import TICKS_PER_SECOND
from simulator.variants import Size


@dataclass(frozen=True)
class Platform:
    """A chip with a runtime on it, as one place shows it."""

    chip: Chip
    """As the place and the mode show it."""
    runtime: Runtime
    tenants: int = 1
    """Jobs that may run at the same time; each has an equal part of the on-chip memory to itself."""
    among: Site | None = None
    """Where the place is among the resources of a Program; None if the chip has no other."""
    mode: str = ""
    """The mode that the chip is in; empty if it has none."""
    die: int = 0
    """The die that it is on."""
    switch_s: float = 0.0
    """How long it takes to come into that mode."""
    unit_clock_hz: float | None = None
    """The clock in which the Program counts cycles of the clusters, if not that of the chip as the mode shows it."""

    # as a place numbers them, see `lowering.resources`
    MATRIX = MATRIX_UNIT
    VECTOR = VECTOR_UNIT
    LAUNCH = LAUNCH_UNIT
    HOST_UNIT = HOST_UNIT
    ROUTING_UNIT = ROUTING_UNIT
    MODE_UNIT = MODE_UNIT
    LINK_UNIT = LINK_UNIT
    LOAD_ROUTE = LOAD_ROUTE
    STORE_ROUTE = STORE_ROUTE
    SRAM_ROUTE = SRAM_ROUTE
    LOCAL = LOCAL_MEMORY

    @cached_property
    def site(self) -> Site:
        """Where the place is among the resources of the Program."""
        return self.among or sites(self.chip)[Place()]

    @property
    def resources(self) -> Resources:
        """Units, channels, masters, routes and memories of the Program."""
        return self.site.resources

    @property
    def cycle_scale(self) -> float:
        """Cycles in which the Program counts, per cycle of the clusters in this mode."""
        clock_hz = self.chip.cluster.clock.value
        return 1.0 if self.unit_clock_hz is None else self.unit_clock_hz / clock_hz

    def in_mode(self, name: str) -> Platform:
        """The same with the chip in one of its modes."""
        if self.chip.reconfiguration is None:
            raise SpecError(f'chip {self.chip.name}: must have modes, got "{name}" for a chip that has none')
        return replace(
            self, chip=self.chip.in_mode(name), among=self.site, mode=name,
            switch_s=self.chip.reconfiguration.latency.value, unit_clock_hz=self.chip.cluster.clock.value,
        )  # fmt: skip

    @property
    def accelerator_master(self) -> int:
        """Index of the master on whose behalf the accelerator moves bytes."""
        return self.site.master

    @property
    def rate_cap_bytes_per_s(self) -> float:
        """The most that the port of its master moves: the accelerator's, or a partition's own."""
        return self.master_cap_bytes_per_s(self.accelerator_master)

    def master_cap_bytes_per_s(self, master: int) -> float:
        """The most that a master moves by itself; infinite where nothing limits it."""
        cap = list(self.chip.masters.values())[master].rate_cap
        return math.inf if cap is None else cap.value

    @cached_property
    def ticks_per_loaded_byte(self) -> float:
        """Ticks of a byte that is loaded alone."""
        return self._ticks_per_byte(0)

    @cached_property
    def ticks_per_stored_byte(self) -> float:
        """Ticks of a byte that is stored alone."""
        return self._ticks_per_byte(1)

    def _ticks_per_byte(self, column: int) -> float:
        slowest = max(ticks[column] for ticks in self.channel_ticks_per_byte)
        return max(TICKS_PER_SECOND / self.rate_cap_bytes_per_s, slowest)

    @cached_property
    def channel_ticks_per_byte(self) -> tuple[tuple[float, float], ...]:
        """Of each channel on the way to the DRAM, the ticks that a loaded and a stored byte take of it."""
        resources, rows = self.resources, []
        load, store = (int(self.site.route[number]) for number in (self.LOAD_ROUTE, self.STORE_ROUTE))
        for channel in resources.route(load):
            mine = (resources.share_master == self.accelerator_master) & (resources.share_channel == channel)
            hard = mine & ~resources.share_is_soft
            share = float(resources.share_maximum[hard][0]) if hard.any() else 1.0
            ticks = TICKS_PER_SECOND / (share * float(resources.channel_bytes_per_s[channel]))
            rows.append((self._usage(load, channel) * ticks, self._usage(store, channel) * ticks))
        return tuple(rows)

    def _usage(self, route: int, channel: int) -> float:
        return self.resources.usage(route)[self.resources.route(route).index(channel)]

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

    def far_share(self, what: Lasting) -> float:
        """The share of a room that lies behind the port of a shared level; none if the port never limits."""
        if math.isinf(self.sram_bytes_per_s):
            return 0.0
        rooms = self.kept_room(what)
        far = sum(size_bytes for memory, size_bytes in rooms if memory != self.LOCAL)
        return far / max(sum(size_bytes for _, size_bytes in rooms), 1)

    @property
    def layers_ahead(self) -> int:
        """How many layers before experts are fetched; 0 if none are fetched early."""
        unit = self.chip.routing
        return 0 if unit is None or unit.prefetch is None else round(unit.prefetch.layers_ahead.value)

    @property
    def keeps_something(self) -> bool:
        """Whether anything stays on the chip from step to step."""
        return any(self.kept_room(what) for what in LASTING)

    @cached_property
    def sram_bytes_per_s(self) -> float:
        """What the port of the shared level delivers that keeps something; infinite where no figure is known."""
        return sram_bytes_per_s(self.chip)

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
                hint=f"it has {', '.join(self.runtime.kernels)}; another runtime may have one (roadline list runtimes)",
            )
        return kernel

    def dtype(self, path: MatrixPath, wanted: Dtype) -> Dtype:
        """The dtype in which a path multiplies what should be multiplied in `wanted`.

        A path without it computes in its 16-bit format, to which operands are converted, or else in 32 bits.

        Raises:
            SpecError: when the path has neither.
        """
        for candidate in (wanted, "fp16", "bf16", "fp32"):
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

    def multiplied(self, used: Precision) -> Precision:
        """The format of activations in the kernel of a precision, with the scales of its weights if they are alike."""
        dtype = self.multiplied_in(used)
        return used if used.weights == dtype else Precision(dtype, dtype)

    def quantises(self, used: Precision) -> bool:
        """Whether software narrows activations for the kernel of a precision: it must, and the path does not."""
        dtype = self.multiplied_in(used)
        in_path = self.chip.cluster.path(self.kernel(used.name).path).converts_in_path
        return DTYPE_BITS[dtype] < 8 * used.activation_bytes and dtype not in in_path

    def attention_dtype(self, path: MatrixPath, kernel: Kernel) -> Dtype:
        """The dtype of attention: a 16-bit format, or that of the matrices if they have 32 or the chip has no 16."""
        if DTYPE_BITS[kernel.dtype] == 32:
            return self.dtype(path, kernel.dtype)
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

    def matrix_precision(self, operator: MatMul | Convolution, body: Precision) -> Precision:
        """The precision of an operator's weights: the LM head may have one of its own."""
        is_head = isinstance(operator, MatMul) and operator.role == "head"
        return self.head_precision(body) if is_head else body

    @cached_property
    def kv_precision(self) -> Precision:
        """The precision of the KV cache."""
        return precision(self.runtime.kv_precision)

    def cache_bytes(self, elements: Size) -> Size:
        """Bytes of so many elements of the KV cache, with their scales."""
        return self.kv_precision.tensor_bytes(elements)
