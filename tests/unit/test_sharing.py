"""Fair shares against networks solved by hand; the reason of each rate is beside it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.sharing import Flow, Share, fair_rates, lone_rate

GREEDY = math.inf


def flow(*route: int, master: int = 0, weight: float = 1.0, cap: float = GREEDY) -> Flow:
    return Flow(route, master, weight, cap)


# without guarantees ------------------------------------------------------------------------------------------------


def test_no_flows_have_no_rates() -> None:
    assert fair_rates([], [100.0], [Share(0, 0, 0.5, 0.5)]) == []


def test_a_lone_flow_gets_the_least_of_its_cap_and_its_channels() -> None:
    assert fair_rates([flow(0, 1)], [100.0, 30.0]) == [30.0]
    assert fair_rates([flow(0, 1, cap=20.0)], [100.0, 30.0]) == [20.0]
    assert lone_rate(flow(0, 1, cap=20.0), [100.0, 30.0]) == 20.0


def test_small_demands_are_met_and_the_rest_goes_to_the_greedy() -> None:
    # 200 / 3 = 66.7 each: 20 and 60 are below it and satisfied; 200 - 80 = 120 is left.
    assert fair_rates([flow(0, cap=20.0), flow(0, cap=60.0), flow(0, cap=300.0)], [200.0]) == [20.0, 60.0, 120.0]


def test_greedy_flows_share_by_weight() -> None:
    assert fair_rates([flow(0, weight=1.0), flow(0, master=1, weight=3.0)], [200.0]) == [50.0, 150.0]


def test_a_flow_over_two_channels_is_held_back_by_the_tighter_one_only() -> None:
    # Channel 1 (4) fills first, at level 2: the long flow and the last one get 2. Channel 0 has 10 - 2 = 8 left.
    long, upper, lower = flow(0, 1), flow(0), flow(1)
    assert fair_rates([long, upper, lower], [10.0, 4.0]) == [2.0, 8.0, 2.0]


def test_rows_that_fill_one_after_the_other() -> None:
    # Channel 2 (6, three flows) fills at level 2, then channel 1 (10, holds 2) at 8, then channel 0 (30, holds 2 + 8).
    flows = [flow(0, 1), flow(0, 2), flow(1, 2), flow(2), flow(0)]
    assert fair_rates(flows, [30.0, 10.0, 6.0]) == [8.0, 2.0, 2.0, 2.0, 20.0]


def test_weights_and_caps_together() -> None:
    # Level 10: weight 1 has 10, weight 2 is at its cap 20; 100 - 20 = 80 is left for weights 1 and 3: level 20.
    flows = [flow(0, weight=1.0), flow(0, weight=2.0, cap=20.0), flow(0, weight=3.0)]
    assert fair_rates(flows, [100.0]) == [20.0, 20.0, 60.0]


def test_a_channel_at_zero_stops_its_flows_and_nobody_else() -> None:
    # The stopped flow leaves channel 0 to the other one.
    assert fair_rates([flow(0, 1), flow(0)], [10.0, 0.0]) == [0.0, 10.0]


# maxima ------------------------------------------------------------------------------------------------------------


def test_a_maximum_is_hard_even_when_the_channel_is_idle_otherwise() -> None:
    assert fair_rates([flow(0)], [200.0], [Share(0, 0, 0.0, 0.25)]) == [50.0]


def test_a_soft_maximum_gives_way_when_nobody_else_can_use_the_channel() -> None:
    assert fair_rates([flow(0)], [200.0], [Share(0, 0, 0.0, 0.25, is_soft=True)]) == [200.0]


def test_what_a_soft_maximum_leaves_goes_to_others_first() -> None:
    # Master 0 is held at 50. Master 1 takes 120, as much as it can; the other 30 go to master 0 after all.
    soft = [Share(0, 0, 0.0, 0.25, is_soft=True)]
    assert fair_rates([flow(0), flow(0, master=1, cap=120.0)], [200.0], soft) == [80.0, 120.0]
    assert fair_rates([flow(0), flow(0, master=1)], [200.0], soft) == [50.0, 150.0]


def test_a_hard_maximum_or_a_full_channel_still_binds_behind_a_soft_maximum() -> None:
    # The soft maximum of channel 0 gives way up to 40: the hard one of channel 1. With 30 on channel 2 up to that.
    shares = [Share(0, 0, 0.0, 0.1, is_soft=True), Share(0, 1, 0.0, 0.4)]
    assert fair_rates([flow(0, 1)], [100.0, 100.0], shares) == [40.0]
    assert fair_rates([flow(0, 1, 2)], [100.0, 100.0, 30.0], shares) == [30.0]


def test_a_flow_of_usage_two_takes_twice_its_rate_of_the_channel() -> None:
    # r + 2 r = 90. With a maximum of 0.5 the second has 45 of the channel, as its fair share would be 60.
    flows = [flow(0), Flow((0,), 1, 1.0, GREEDY, (2.0,))]
    assert fair_rates(flows, [90.0]) == [30.0, 30.0]
    assert fair_rates(flows, [90.0], [Share(1, 0, 0.0, 0.5)]) == [45.0, 22.5]
    assert fair_rates(flows, [90.0], [Share(1, 0, 0.8, 1.0)]) == [18.0, 36.0]
    assert lone_rate(flows[1], [90.0]) == 45.0


def test_a_master_whose_budget_is_used_up_stands_still_whatever_it_is_guaranteed() -> None:
    flows = [flow(0), flow(0, 1), flow(1), flow(0, master=1)]
    shares = [Share(0, 0, 0.5, 1.0)]
    assert fair_rates(flows, [100.0, 100.0], shares, exhausted=[(0, 0)]) == [0.0, 0.0, 100.0, 100.0]


def test_a_maximum_bounds_all_flows_of_the_master_together() -> None:
    # Master 0 may have 0.25 * 200 = 50, so 25 for each of its two flows; master 1 takes the remaining 150.
    rates = fair_rates([flow(0), flow(0), flow(0, master=1)], [200.0], [Share(0, 0, 0.0, 0.25)])
    assert rates == [25.0, 25.0, 150.0]


def test_a_maximum_counts_only_the_flows_on_its_channel() -> None:
    # The maximum is on channel 0; the flow on channel 1 is free of it.
    assert fair_rates([flow(0), flow(1)], [100.0, 100.0], [Share(0, 0, 0.0, 0.1)]) == [10.0, 100.0]


def test_a_maximum_of_the_whole_channel_is_no_row() -> None:
    assert fair_rates([flow(0), flow(0, master=1)], [100.0], [Share(0, 0, 0.0, 1.0)]) == [50.0, 50.0]


# minima ------------------------------------------------------------------------------------------------------------


def test_a_minimum_is_kept_against_a_greedy_neighbour() -> None:
    # Without the guarantee 50 each. With it master 0 has 60 and master 1 grows until the channel is full, at 40.
    assert fair_rates([flow(0), flow(0, master=1)], [100.0], [Share(0, 0, 0.6, 1.0)]) == [60.0, 40.0]


def test_a_minimum_below_the_fair_share_changes_nothing() -> None:
    # The floor is 30; at level 30 the flow grows along with its neighbour, to 50.
    assert fair_rates([flow(0), flow(0, master=1)], [100.0], [Share(0, 0, 0.3, 1.0)]) == [50.0, 50.0]


def test_a_minimum_that_is_not_asked_for_is_lent_to_others() -> None:
    assert fair_rates([flow(0, cap=10.0), flow(0, master=1)], [100.0], [Share(0, 0, 0.6, 1.0)]) == [10.0, 90.0]


def test_a_minimum_is_divided_within_the_master() -> None:
    # Floors from 60: one flow is capped at 10, the other has 50. Master 1 fills the channel at 40, below 50.
    flows = [flow(0, cap=10.0), flow(0), flow(0, master=1)]
    assert fair_rates(flows, [100.0], [Share(0, 0, 0.6, 1.0)]) == [10.0, 50.0, 40.0]


def test_guarantees_of_everything_leave_nothing() -> None:
    shares = [Share(0, 0, 0.5, 1.0), Share(1, 0, 0.5, 1.0)]
    assert fair_rates([flow(0), flow(0, master=1), flow(0, master=2)], [100.0], shares) == [50.0, 50.0, 0.0]


def test_guarantees_that_round_to_more_than_everything_leave_zero_and_not_less() -> None:
    # In floating point 0.55 + 8.8 + 1.65 is a hair above 11.
    assert 0.05 * 11 + 0.8 * 11 + 0.15 * 11 > 11
    flows = [flow(0, master=master) for master in range(4)]
    shares = [Share(master, 0, minimum, 1.0) for master, minimum in enumerate((0.05, 0.8, 0.15))]
    rates = fair_rates(flows, [11.0], shares)
    assert rates[3] == 0.0
    assert rates[:3] == pytest.approx([0.55, 8.8, 1.65])


def test_a_guarantee_in_a_full_row_is_kept_to_the_last_bit() -> None:
    # Dividing what 11.7 leaves of 13 by two would give 0.6500000000000004.
    flows = [flow(0, master=master) for master in range(4)]
    shares = [Share(master, 0, minimum, 1.0) for master, minimum in enumerate((0.05, 0.05, 0.9))]
    assert fair_rates(flows, [13.0], shares)[:2] == [0.65, 0.65]


def test_equal_minimum_and_maximum_pin_a_master() -> None:
    assert fair_rates([flow(0), flow(0, master=1)], [100.0], [Share(0, 0, 0.2, 0.2)]) == [20.0, 80.0]


def test_a_floor_keeps_within_every_channel_and_maximum_of_its_route() -> None:
    # 0.5 * 100 = 50 is promised on channel 0, but the route also has 0.1 * 80 = 8 at most on channel 1.
    shares = [Share(0, 0, 0.5, 1.0), Share(0, 1, 0.0, 0.1)]
    assert fair_rates([flow(0, 1), flow(0, master=1)], [100.0, 80.0], shares) == [8.0, 92.0]


def test_a_floor_is_worth_as_much_on_the_other_channels_of_the_route() -> None:
    # 40 of channel 0 is promised, and channel 1 has 50: the unguaranteed flow there gets 10, not 25. Nobody else
    # is on channel 0, but the guaranteed flow is stopped by channel 1.
    assert fair_rates([flow(0, 1), flow(1, master=1)], [100.0, 50.0], [Share(0, 0, 0.4, 1.0)]) == [40.0, 10.0]


def test_a_flow_that_sits_starts_to_grow_when_the_level_reaches_its_floor() -> None:
    # Floor 40 (weight 1). The two of weight 1 grow to level 40, then all three to 180 / 3 = 60.
    flows = [flow(0), flow(0, master=1), flow(0, master=1)]
    assert fair_rates(flows, [180.0], [Share(0, 0, 40 / 180, 1.0)]) == pytest.approx([60.0, 60.0, 60.0])


def test_a_minimum_follows_the_present_capacity() -> None:
    assert fair_rates([flow(0), flow(0, master=1)], [50.0], [Share(0, 0, 0.6, 1.0)]) == [30.0, 20.0]


# laws --------------------------------------------------------------------------------------------------------------

_awkward = st.floats(0.1, 100.0)


@st.composite
def _network(draw: st.DrawFn, channels: int = 3) -> tuple[list[Flow], list[float], list[Share]]:
    weights = [draw(_awkward) for _ in range(3)]
    flows = []
    for _ in range(draw(st.integers(1, 5))):
        route = draw(st.lists(st.integers(0, channels - 1), min_size=1, max_size=channels, unique=True))
        master = draw(st.integers(0, 2))
        flows.append(Flow(tuple(route), master, weights[master], draw(st.one_of(st.just(GREEDY), _awkward))))
    shares = [
        Share(master, channel, draw(st.sampled_from([0.0, 0.1, 0.3])), draw(st.sampled_from([0.3, 0.7, 1.0])))
        for master in range(3)
        for channel in range(channels)
    ]
    return flows, [draw(_awkward) for _ in range(channels)], shares


@given(_network(), _network())
def test_flows_that_share_no_row_leave_each_other_bit_for_bit_alone(
    left: tuple[list[Flow], list[float], list[Share]], right: tuple[list[Flow], list[float], list[Share]]
) -> None:
    flows, capacity, shares = left
    others = [Flow(tuple(c + 3 for c in f.route), f.master + 3, f.weight, f.cap_bytes_per_s) for f in right[0]]
    other_shares = [Share(s.master + 3, s.channel + 3, s.minimum, s.maximum) for s in right[2]]
    together = fair_rates([*flows, *others], [*capacity, *right[1]], [*shares, *other_shares])
    assert together == fair_rates(*left) + fair_rates(*right)


@given(_network(), st.randoms(use_true_random=False))
def test_the_order_of_channels_and_shares_does_not_matter_to_the_last_bit(
    network: tuple[list[Flow], list[float], list[Share]], random: object
) -> None:
    flows, capacity, shares = network
    place = list(range(len(capacity)))
    random.shuffle(place)  # type: ignore[attr-defined]
    moved = [Flow(tuple(place[c] for c in f.route), f.master, f.weight, f.cap_bytes_per_s) for f in flows]
    moved_shares = [Share(s.master, place[s.channel], s.minimum, s.maximum) for s in shares]
    random.shuffle(moved_shares)  # type: ignore[attr-defined]
    moved_capacity = [capacity[place.index(c)] for c in range(len(capacity))]
    assert fair_rates(moved, moved_capacity, moved_shares) == fair_rates(flows, capacity, shares)


def test_a_flow_of_two_rows_that_fill_together_takes_the_smaller_of_two_roundings() -> None:
    # Both rows fill at the level 7.1 / 4.8 = 10.65 / 7.2, but 7.1 * 1.3 / 4.8 and 10.65 * 1.3 / 7.2 are rounded apart.
    assert 7.1 / (1.3 + 3.5) == 10.65 / (1.3 + 5.9)
    assert 7.1 * 1.3 / (1.3 + 3.5) > 10.65 * 1.3 / (1.3 + 5.9)
    shared = flow(0, 1, weight=1.3)
    rates = fair_rates([shared, flow(0, master=1, weight=3.5), flow(1, master=2, weight=5.9)], [7.1, 10.65])
    swapped = fair_rates([shared, flow(1, master=1, weight=3.5), flow(0, master=2, weight=5.9)], [10.65, 7.1])
    assert rates == swapped
    assert rates[0] == 10.65 * 1.3 / (1.3 + 5.9)


@given(_network())
def test_every_flow_is_stopped_by_its_cap_or_by_a_full_row(
    network: tuple[list[Flow], list[float], list[Share]],
) -> None:
    flows, capacity, shares = network
    rates = fair_rates(flows, capacity, shares)

    def has_room(members: list[int], limit: float) -> bool:
        load = sum(rates[i] for i in members)
        assert load <= limit * (1 + 1e-9)
        return load < limit * (1 - 1e-9)

    for one, rate in zip(flows, rates, strict=True):
        assert 0 <= rate <= one.cap_bytes_per_s
        rooms = [has_room([i for i, f in enumerate(flows) if c in f.route], capacity[c]) for c in one.route]
        rooms += [
            has_room(
                [i for i, f in enumerate(flows) if f.master == s.master and s.channel in f.route],
                s.maximum * capacity[s.channel],
            )
            for s in shares
            if s.master == one.master and s.channel in one.route
        ]
        assert rate == one.cap_bytes_per_s or not all(rooms)
