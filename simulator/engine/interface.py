"""What an engine is, and the written contract that every engine obeys.

An engine turns a Program into a Timeline. Two engines with the same contract give identical start and end times.

Time is an integer number of ticks (picoseconds). At each tick at which something happens, an engine works in rounds,
and each round has five steps in this order:

1. completions: tasks that end now leave their unit or channels; their successors lose a predecessor; a job whose
   last task ended completes.
2. capacity changes: clocks and channel capacities of this tick take their new values, background flows start or stop,
   periods of budgets begin and budgets are used up.
3. releases: jobs that waited start if their stream has room (the oldest waiting first), then the releases of this
   tick start, wait or are dropped. A job that starts makes its tasks without predecessors ready.
4. starts: every unit with a free slot takes its waiting task with the smallest (priority, ready tick, task index,
   release number) until no slot is free; ready transfers and milestones start at once. A task without duration
   (milestone, zero cycles, zero bytes) ends at the tick at which it starts, in the next round of the same tick; a
   transfer of zero bytes never enters its channels.
5. rates: if a flow started or ended, a channel's capacity changed, or a budget was used up or came back in this round,
   the rates of all flows are shared out anew (`simulator.engine.sharing`).

Rounds at a tick go on until nothing more ends there. Capacity changes and releases happen in the first round of their
tick only. No step depends on the order in which things were created.

Durations. A compute task of w cycles at clock f lasts `cycles_to_ticks(w, f)`. When the clock changes to g while d
ticks are left, the remaining work is d ticks at f, and the task ends `ceil_ticks(d * f / g)` after the change (never,
if g is 0). A task that starts at clock 0 lasts `cycles_to_ticks(w, g)` from the change to g on. A flow with r bytes
left at rate v (bytes/s) ends `ceil_ticks(r / v * 1e12)` after the last tick at which its rate changed (never, if v is
0); r is updated only at those ticks, by subtracting `v * elapsed / 1e12` and not going below 0. A clock that changes
to the same value is no change, nor is a rate that comes out of the sharing with the same value. Whatever lasts 0
ticks by these rules ends in the next round of the same tick; whatever lasts `LAST_TICK` or more stands still.

Usage. A flow of r bytes/s takes `r * usage` of the capacity of each channel of its route. Bytes and rates of a flow are
true bytes; capacities, shares, budgets and the rate rows of channels count what is taken of the capacity.

Budgets. In each period from a multiple of `budget_period_ticks` to the next, the flows of a master (transfers and
background) may take `budget_bytes` of a channel. The rate of a budget is the sum of `rate * usage` over those flows, in
the order of the sharing. With b bytes left at rate v it is used up `max(1, ceil_ticks(b / v * 1e12))` ticks after the
last tick at which its rate changed or its period began, if that is before the next period begins; b is updated only at
those ticks, by subtracting `v * elapsed / 1e12` and not going below 0, and is `budget_bytes` when a period begins. From
the tick at which it is used up to the begin of the next period all those flows stand still, as if the master had a
maximum share of 0. So a flow that ends just as its budget is used up has ended, and a budget that lasts to the begin of
the next period is not used up. A period may take one tick of flow more than its budget.

Streams. A release finds its stream busy when `in_flight` of its jobs run. Then DROP_IF_BUSY drops it; LATEST lets it
wait and drops the release that waited before, if any; FIFO lets it wait, or drops it if `queue_depth` releases wait.
A release that is dropped never starts. Releases at the same tick are handled by (stream index, release number).
Completions come before releases, so a job that ends exactly at a release makes room for it.

The end. Without `until_tick` the run ends with the tick at which the last release is settled (completed or dropped);
a Program without releases ends at tick 0 before anything happens. With `until_tick` it goes on to that tick, whether
or not all jobs have completed, and tasks that cannot end are cut off like any other.

A run without `until_tick` is given up when its work can never end: nothing is to happen any more, or nothing but
budgets, and for `MOST_IDLE_PERIODS` of the longest period no transfer had an end or changed its rate.

The record. The rates of a channel are those after the last round of a tick, times usage, summed over its flows in the
order of the sharing; there is a row only if one of the two sums differs from the row before (from 0 at first). What
background flows have moved is a long sum, which an engine may add up in another order: it is exact to one part in
10^12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from simulator.program import Program
from simulator.timeline import Timeline

LAST_TICK: Final = 2**62
"""An end this many ticks away or more (53 days) counts as never."""

MOST_IDLE_PERIODS: Final = 10
"""Budgets of several periods may open one after the other; after so many of the longest nothing new can come."""

Progress = Callable[[int, int], None]
"""Called now and then with (ticks simulated, tasks completed)."""


class Engine(Protocol):
    """Turns a Program into a Timeline."""

    name: str

    def run(self, program: Program, *, until_tick: int | None = None, progress: Progress | None = None) -> Timeline:
        """Runs a Program.

        Args:
            program: what to run.
            until_tick: stop before this tick; what happens at it does not happen (a half-open window). None runs
                until every released job has completed.
            progress: called now and then.
        Raises:
            Infeasible: when the remaining work can never end (a clock or channel stays at zero).
            EngineError: when an invariant of the engine is broken.
        """
        ...
