"""The rules of `simulator.engine.budgets`, number for number, on arrays."""

from __future__ import annotations

import math

from simulator.compiled import called_in_place, inlined_in_place
from simulator.engine.interface import LAST_TICK, MOST_IDLE_PERIODS
from simulator.engine.kernel import state as place
from simulator.engine.kernel.state import (
    BEGIN,
    BUDGET_SINCE,
    DUE,
    IS_EXHAUSTED,
    KEY,
    LEFT,
    NEVER,
    RATE,
    SINCE,
    State,
)
from simulator.engine.kernel.tables import PERIOD_TICKS, Tables
from simulator.units import ROUNDING_GUARD_TICKS, TICKS_PER_SECOND


@called_in_place
def turn_budgets(tables: Tables, state: State) -> bool:
    """Does what is due now; returns whether flows must stop or may go on."""
    now, budgets = state.number[place.NOW], state.resources.budget
    has_turned = False
    for budget in range(len(budgets)):
        if budgets[budget, DUE] == now:
            was_exhausted = budgets[budget, IS_EXHAUSTED]
            if now == budgets[budget, BEGIN]:
                _begin_period(tables, state, budget)
            else:
                budgets[budget, IS_EXHAUSTED] = 1
            _expect(state, budget)
            has_turned |= budgets[budget, IS_EXHAUSTED] != was_exhausted
    find_due_budget(state)
    return has_turned


@inlined_in_place
def set_budget_rate(tables: Tables, state: State, budget: int, bytes_per_s: float) -> None:
    """Takes another rate of all flows of a budget, times usage."""
    now, budgets, moving = state.number[place.NOW], state.resources.budget, state.resources.budget_moving
    if bytes_per_s == moving[budget, RATE]:
        return
    if now >= budgets[budget, BEGIN]:
        _begin_period(tables, state, budget)
    else:
        taken = moving[budget, RATE] * (now - budgets[budget, BUDGET_SINCE]) / TICKS_PER_SECOND
        left = moving[budget, LEFT] - taken
        moving[budget, LEFT] = left if left > 0.0 else 0.0
    budgets[budget, BUDGET_SINCE] = now
    moving[budget, RATE] = bytes_per_s
    _expect(state, budget)


@inlined_in_place
def find_due_budget(state: State) -> None:
    """Finds the first tick at which a budget is due."""
    due = NEVER
    for budget in range(len(state.resources.budget)):
        due = min(due, state.resources.budget[budget, DUE])
    state.number[place.BUDGET_DUE] = due


@inlined_in_place
def _begin_period(tables: Tables, state: State, budget: int) -> None:
    now, budgets = state.number[place.NOW], state.resources.budget
    period_ticks = tables.network.budget[budget, PERIOD_TICKS]
    state.resources.budget_moving[budget, LEFT] = tables.network.budget_bytes[budget]
    budgets[budget, BUDGET_SINCE] = now
    budgets[budget, BEGIN] = (now // period_ticks + 1) * period_ticks
    budgets[budget, IS_EXHAUSTED] = 0


@inlined_in_place
def _expect(state: State, budget: int) -> None:
    """Works out what is due next."""
    budgets, moving = state.resources.budget, state.resources.budget_moving
    rate, due = moving[budget, RATE], NEVER
    if budgets[budget, IS_EXHAUSTED] or rate > 0.0:
        due = budgets[budget, BEGIN]
    if not budgets[budget, IS_EXHAUSTED] and rate > 0.0:
        ticks = moving[budget, LEFT] / rate * TICKS_PER_SECOND
        if ticks < LAST_TICK:
            due = min(due, budgets[budget, BUDGET_SINCE] + max(1, math.ceil(ticks - ROUNDING_GUARD_TICKS)))
    budgets[budget, DUE] = due


@called_in_place
def stands_still(tables: Tables, state: State, tick: int) -> bool:
    """Whether nothing but budgets has changed for long when a tick comes, which only a budget waits for."""
    calendar = state.resources.queue[-1]
    if state.number[place.FLOW_END] != NEVER or (calendar >= 0 and state.active[calendar, KEY] != NEVER):
        return False
    longest_ticks = 0
    for budget in range(len(tables.network.budget)):
        longest_ticks = max(longest_ticks, tables.network.budget[budget, PERIOD_TICKS])
    for position in range(state.number[place.NUM_FLOWS]):
        if tick - state.active[state.flows[position], SINCE] <= MOST_IDLE_PERIODS * longest_ticks:
            return False
    return True
