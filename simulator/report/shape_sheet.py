"""Sheets of what a chip makes of its parts: shares of SRAM, modes, partitions, dies and the routing unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simulator.chip import Chip, Reconfiguration
from simulator.chip.memory import EVEN_SPLIT, LocalSplit, Split, Sram
from simulator.report.sheet_parts import Number, new_table, number_table, part_labels
from simulator.units import binary_size, format_quantity

SHARES = ("streams", "activations", "weights", "kv", "experts")
"""What an SRAM level is shared out to."""


def shape_tables(chip: Chip, numbers: Mapping[str, Number]) -> Iterator[RenderableType]:
    """What there is of it."""
    if chip.routing is not None:
        table = number_table("Routing unit", numbers, part_labels(numbers, "routing"))
        table.add_row("experts that it keeps", chip.routing.cache or "none", "", "")
        yield table
    shares = _share_table(chip)
    if shares.row_count:
        yield shares
    if chip.reconfiguration is not None:
        latency = {"reconfiguration.latency": "time to change the mode"}
        yield number_table(f"Modes of {chip.reconfiguration.cluster}", numbers, latency)
        yield Text(f"Modes: {', '.join(chip.reconfiguration.modes)}. {_choice(chip.reconfiguration)}")
    if chip.partitions:
        table = new_table("Partitions, which also have their part of the shared SRAM", "name", "clusters >", "share >")
        for name, partition in chip.partitions.items():
            share = partition.clusters / chip.cluster.count.value
            table.add_row(name, str(partition.clusters), f"{100 * share:.3g} %")
        yield table
    if chip.dies is not None:
        yield Text(f"Dies: {chip.dies.count}, each with all of this, joined by the link {chip.dies.link}.")


def _share_table(chip: Chip) -> Table:
    """How software shares out each SRAM level, where the chip says so."""
    table = new_table("Shares of SRAM", "level", *(f"{name} >".replace("kv", "KV") for name in SHARES), "KV sinks >")
    local = chip.cluster.sram
    if local.split != EVEN_SPLIT or local.kv_store is not None:
        table.add_row("of each cluster", *_shares(local.split, local.kv_store), _sinks(local))
    for name, level in chip.sram.items():
        if level.split is not None or level.kv_store is not None:
            table.add_row(name, *_shares(level.split, level.kv_store), _sinks(level))
    modes = {} if chip.reconfiguration is None else chip.reconfiguration.modes
    for mode_name, mode in modes.items():
        if mode.local_split is not None:
            table.add_row(f"of each cluster in {mode_name}", *_shares(mode.local_split, None), "")
        for name, split in mode.split.items():
            table.add_row(f"{name} in {mode_name}", *_shares(split, chip.sram[name].kv_store), "")
    return table


def _shares(split: Split | None, kv_store_bytes: float | None) -> list[str]:
    """The shares in percent, in the order of `SHARES`; a KV store in bytes."""
    shares: dict[str, str] = {}
    if split is None:
        shares["activations"] = "rest"
    else:
        named = SHARES if isinstance(split, LocalSplit) else SHARES[1:]
        given = {name: float(getattr(split, name)) for name in named}
        shares = {name: f"{100 * share:.3g} %" for name, share in given.items() if share > 0}
    if kv_store_bytes is not None:
        shares["kv"] = binary_size(kv_store_bytes)
    return [shares.get(name, "") for name in SHARES]


def _sinks(level: Sram) -> str:
    return f"{level.kv_sinks} tokens" if level.kv_sinks else ""


def _choice(reconfiguration: Reconfiguration) -> str:
    """How the mode of a phase is chosen."""
    rule = reconfiguration.rule
    if rule is None:
        order = (reconfiguration.order or {}).items()
        return f"By phase: {', '.join(f'{phase} in {mode}' for phase, mode in order)}; others as the phase before."
    threshold = format_quantity(rule.flop_per_byte, "FLOP/B")
    words = f"A phase with at least {threshold} of DRAM traffic runs in {rule.above}, others in {rule.below}"
    return f"{words}; a change takes {100 * rule.hysteresis:g} % beyond it." if rule.hysteresis else f"{words}."
