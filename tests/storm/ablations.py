"""The agent with one safeguard taken out: a storm that does not notice proves nothing.

Each safeguard is taken out by a patch, and is missed by a storm in the weather that needs it, or by a scene of its own
(`tests.storm.scenes`). `seeds_to_find` says how many storms that takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

from msgspec import Struct
from msgspec.structs import replace

from adapters import answers, binance, binance_terms, conversation
from adapters.simulator import Faults, FrameFault, Incident, RequestFault
from agent.core import book, deadman, desk, limits, orders, risk, strangers
from agent.core import events as fact
from agent.core.audit import Audit
from agent.core.book import Book
from agent.core.breaker import Breaker
from agent.core.channel import Channel
from agent.core.correction import Correction
from agent.core.desk import Desk, Input, Silence
from agent.core.engine import Engine
from agent.core.events import Fact, Orders
from agent.core.guard import Guard
from agent.core.limits import Lanes
from agent.core.orders import Blotter, Order, S, State
from agent.core.planner import Leg
from agent.core.venue import Ask, Cancel, Open, Place, Request, What
from tests.storm import scenes
from tests.storm.storm import storm, swarm
from tests.storm.watchman import Violation
from tests.storm.world import START as BEGINNING

Verdict = fact.Fault | answers.Reaction
Scene = Callable[[int, type[Desk]], object]
"""Plays something through with a seed and this desk; raises `Violation` when a promise is broken."""


class Ablation(Struct, frozen=True):
    """A safeguard taken out, where it is missed, and from which seed on that is seen soon."""

    without: Callable[[], AbstractContextManager[type[Desk]]]
    scene: Scene
    first: int


ABLATIONS: dict[str, Ablation] = {}


def missed_by(scene: Scene, first: int = 0) -> Callable[[Callable[[], Iterator[type[Desk]]]], None]:
    """Enter an ablation under its name."""

    def enter(without: Callable[[], Iterator[type[Desk]]]) -> None:
        ABLATIONS[without.__name__] = Ablation(contextmanager(without), scene, first)

    return enter


def notices(name: str, seed: int) -> bool:
    """Whether a promise is broken without the safeguard."""
    ablation = ABLATIONS[name]
    with ablation.without() as without:
        try:
            ablation.scene(seed, without)
        except Violation:
            return True
    return False


def seeds_to_find(name: str, most: int, first: int = 0, until: float = float("inf")) -> int | None:
    """How many storms it takes, from a seed on, to notice that a safeguard is missing; None if ``most`` do not.

    ``until``: gives up at this time of the monotonic clock.
    """
    for number in range(most):
        if notices(name, first + number):
            return number + 1
        if time.monotonic() > until:
            break
    return None


def in_weather(
    *faults: RequestFault | FrameFault | Incident, skew_ms: int = 0, lasts_s: int = 60, also: bool = False
) -> Scene:
    """A storm with these faults alone, or ``also`` with those of a storm; the venue's clock is ahead by ``skew_ms``."""

    def weather(seed: int) -> Faults:
        usual = swarm(seed) if also else Faults(seed=seed, delay_ms=20.0)
        return replace(
            usual,
            clock_skew_ms=skew_ms,
            requests=(*usual.requests, *(one for one in faults if isinstance(one, RequestFault))),
            frames=(*usual.frames, *(one for one in faults if isinstance(one, FrameFault))),
            events=(*usual.events, *(one for one in faults if isinstance(one, Incident))),
        )

    return lambda seed, without: storm(seed, without, weather, lasts_s * S)


def but(gates: tuple[risk.Gate, ...], *out: risk.Gate) -> tuple[risk.Gate, ...]:
    """The gates without some of them."""
    return tuple(gate for gate in gates if gate not in out)


# Orders of unknown fate


class Resending(Desk):
    """Sends an order again, under its own id, when its reply was lost."""

    def _translate(self, arrived: Input, now: int) -> Sequence[Fact]:
        if isinstance(arrived, Silence):
            channel, call = self.calls.get(arrived.call, (None, None))
            if channel is not None and call is not None and isinstance(call.request, Place):
                del self.calls[arrived.call]
                again = Place(order=replace(call.request.order, expires_at=now + 3 * S))
                channel.lanes.put(again, channel.dialect.weigh(again))
                return ()
        return super()._translate(arrived, now)


class Patient(Desk):
    """Waits for a frame for ever."""

    def _open(self, way: Open, now: int) -> None:
        super()._open(replace(way, quiet_ns=None), now)


LATE = RequestFault("hold", on="order", chance=0.7), RequestFault("lose reply", on="order", chance=0.7)
LOST = RequestFault("lose", on="order", chance=0.3), RequestFault("lose reply", on="order", chance=0.5)
NO_CANCEL = RequestFault("lose", on="cancel", chance=0.7), RequestFault("unknown", on="cancel", chance=0.7)
STALE = RequestFault("stale", on="reads", chance=0.7)


@missed_by(storm, first=3)
def resend_on_a_lost_reply() -> Iterator[type[Desk]]:
    """No answer is taken for "not done"."""
    yield Resending


@missed_by(in_weather(*LATE))
def believe_the_first_denial() -> Iterator[type[Desk]]:
    """ "No such order" is believed while the request may still be on its way."""
    with patch.object(orders, "SETTLE_NS", -(10**18)), patch.object(orders, "TWICE_NS", 0):
        yield Desk


@missed_by(in_weather(*LATE))
def expect_no_delay_at_the_venue() -> Iterator[type[Desk]]:
    """A request is taken for dead when its time is over, though the venue may hold it longer."""
    with patch.object(orders, "SETTLE_NS", 0):
        yield Desk


@missed_by(scenes.a_denial_from_a_cache)
def believe_one_denial() -> Iterator[type[Desk]]:
    """ "No such order" is believed without being repeated."""

    def denied(
        self: Blotter, order: Order, denial: fact.Absent, watch: orders.Watch, now: int, held: int | None
    ) -> Order:
        watch.denied_at = now - orders.TWICE_NS
        return plain(self, order, denial, watch, now, held)

    plain = Blotter._denied
    with patch.object(Blotter, "_denied", denied):
        yield Desk


@missed_by(scenes.a_denial_while_the_position_has_moved)
def believe_a_denial_against_the_position() -> Iterator[type[Desk]]:
    """A denial counts although the position has moved."""
    with patch.object(orders, "_against", lambda *_: None):
        yield Desk


@missed_by(scenes.a_denial_after_days)
def believe_a_venue_that_forgets() -> Iterator[type[Desk]]:
    """ "No such order" counts however old the order is."""
    with patch.object(orders, "FORGOTTEN_NS", 10**20):
        yield Desk


@missed_by(in_weather(*LATE, skew_ms=60_000))
def forget_that_the_venues_clock_is_ahead() -> Iterator[type[Desk]]:
    """What the venue dates by its own clock is compared with ours."""
    with patch.object(Blotter, "venue_ahead_ns", property(lambda self: 0, lambda self, value: None), create=True):
        yield Desk


@missed_by(in_weather(*LATE, RequestFault("bad gateway", on="query", chance=0.7)))
def take_no_answer_for_a_denial() -> Iterator[type[Desk]]:
    """A question that fails counts as "no such order"."""

    def outcome(request: Request, verdict: Verdict, code: str, reason: str) -> list[Fact]:
        if isinstance(request, Ask) and request.what is What.ORDER:
            return [fact.Absent(request.order or "", BEGINNING + 3_600 * S)]
        return plain(request, verdict, code, reason)

    plain = answers.outcome
    with patch.object(binance, "outcome", outcome), patch.object(conversation, "outcome", outcome):
        yield Desk


@missed_by(in_weather(RequestFault("unknown done", on="order", chance=0.7)))
def take_an_unknown_outcome_for_a_refusal() -> Iterator[type[Desk]]:
    """Whatever is not a yes is a no."""

    def fate(order: str, verdict: object, code: str, reason: str) -> Fact:
        return fact.Refused(order, code, reason, fact.Fault.OTHER)

    with patch.object(answers, "fate", fate), patch.object(binance, "fate", fate):
        yield Desk


@missed_by(in_weather(*NO_CANCEL))
def take_a_failed_cancel_for_done() -> Iterator[type[Desk]]:
    """A cancel without an answer has cancelled."""

    def outcome(request: Request, verdict: Verdict, code: str, reason: str) -> list[Fact]:
        if isinstance(request, Cancel):
            return [fact.Ended(request.order, "cancelled", 0, 0)]
        return plain(request, verdict, code, reason)

    plain = answers.outcome
    with patch.object(binance, "outcome", outcome), patch.object(conversation, "outcome", outcome):
        yield Desk


@missed_by(scenes.a_cancel_that_is_lost)
def cancel_only_once() -> Iterator[type[Desk]]:
    """A cancel that got lost is not sent again."""

    def due(self: Blotter, now: int) -> tuple[list[Order], list[Order]]:
        asks, cancels = plain(self, now)
        for order in cancels:
            self.watches[order.id].cancel_at = None
        return asks, cancels

    plain = Blotter.due
    with patch.object(Blotter, "due", due):
        yield Desk


@missed_by(storm)
def send_while_one_is_unknown() -> Iterator[type[Desk]]:
    """An order of unknown fate holds nothing up."""

    def believe_it_gone(self: Blotter, instrument: int | None = None) -> list[Order]:
        known = (State.SENT, State.WORKING)
        return [o for o in self.orders.values() if o.state in known and instrument in (None, o.instrument)]

    with patch.object(Blotter, "live", believe_it_gone):
        yield Desk


@missed_by(scenes.an_id_that_is_there_already)
def take_a_twin_for_a_refusal() -> Iterator[type[Desk]]:
    """An id that the venue knows already is taken for a plain refusal of ours."""
    with patch.dict(binance_terms.REPLIES, {-4116: fact.Fault.OTHER}):
        yield Desk


# Fills and positions


@missed_by(in_weather(FrameFault("repeat", on="private", chance=0.5)))
def count_trades_twice() -> Iterator[type[Desk]]:
    """A trade that is told twice is counted twice."""
    with patch.object(Blotter, "_new_trade", lambda self, trade: True):
        yield Desk


@missed_by(storm)
def take_the_last_sum_for_the_largest() -> Iterator[type[Desk]]:
    """What an order has filled follows the last word, not the highest."""

    def after(self: Blotter, order: Order, told: Fact, watch: orders.Watch, now: int, held: int | None) -> Order:
        summed = isinstance(told, fact.Accepted | fact.Filled | fact.Ended)
        return plain(self, replace(order, filled_lots=0) if summed else order, told, watch, now, held)

    plain = Blotter._after
    with patch.object(Blotter, "_after", after):
        yield Desk


@missed_by(storm)
def plan_from_an_old_position() -> Iterator[type[Desk]]:
    """A position is used although our own fill is newer."""
    with patch.object(risk, "ALWAYS", but(risk.ALWAYS, risk.settled)):
        yield Desk


@missed_by(in_weather(*LOST, STALE, FrameFault("drop", on="private", chance=0.6)))
def trust_a_sum_like_a_trade() -> Iterator[type[Desk]]:
    """A fill that is known only as a sum needs no position that can't come from a cache."""
    with patch.object(Blotter, "needed", lambda self, instrument: self.effects.get(instrument, 0)):
        yield Desk


@missed_by(in_weather(STALE, FrameFault("drop", on="private", chance=0.5)))
def believe_a_snapshot_at_once() -> Iterator[type[Desk]]:
    """A snapshot that contradicts what was told is believed without being repeated."""
    with patch.object(Book, "_confirmed", lambda self, key, lots, now, left_out: True):
        yield Desk


@missed_by(storm)
def forget_orders_when_they_end() -> Iterator[type[Desk]]:
    """A finished order is not remembered for what comes late."""
    with patch.object(orders, "KEEP_NS", 0):
        yield Desk


# What is asked


@missed_by(scenes.a_disconnection_in_which_a_fill_is_missed)
def go_on_after_a_disconnection() -> Iterator[type[Desk]]:
    """After the private stream was away nothing is asked anew."""
    with patch.object(Audit, "require", lambda self, whats, now, venue_now: None):
        yield Desk


@missed_by(scenes.an_answer_from_before_the_reconnection)
def count_answers_from_before_a_reconnection() -> Iterator[type[Desk]]:
    """An answer to a question that left before the stream came back counts as news."""

    def require(self: Audit, whats: tuple[What, ...], now: int, venue_now: int) -> None:
        plain(self, whats, now, 0)

    plain = Audit.require
    with patch.object(Audit, "require", require):
        yield Desk


@missed_by(in_weather(FrameFault("half open", on="public", chance=0.05, times=4)), first=4)
def wait_for_a_silent_socket() -> Iterator[type[Desk]]:
    """A market data socket without a frame is kept for ever."""
    yield Patient


# Gates


@missed_by(storm)
def increase_before_reducing() -> Iterator[type[Desk]]:
    """Increases do not wait for reductions."""
    with (
        patch.object(risk, "INCREASES", but(risk.INCREASES, risk.reductions_first)),
        patch.object(Engine, "_hopeful", lambda self, leg, drift, now: False),
    ):
        yield Desk


@missed_by(storm)
def send_several_orders_on_one_instrument() -> Iterator[type[Desk]]:
    """An instrument may have several orders under way."""

    def all_of_them(self: Correction, legs: tuple[Leg, ...], *_: object) -> list[Leg]:
        return [leg for leg in legs if not self.given_up(leg)]

    with (
        patch.object(risk, "ALWAYS", but(risk.ALWAYS, risk.alone)),
        patch.object(Correction, "candidates", all_of_them),
    ):
        yield Desk


@missed_by(scenes.a_price_that_has_stalled)
def size_from_old_prices() -> Iterator[type[Desk]]:
    """An order is sized from whatever price was heard last."""
    with (
        patch.object(risk, "ALWAYS", but(risk.ALWAYS, risk.fresh_price)),
        patch.object(risk, "INCREASES", but(risk.INCREASES, risk.all_prices_fresh)),
    ):
        yield Desk


@missed_by(in_weather(FrameFault("spike", on="mark", by=1.09, chance=0.2)))
def believe_a_mark_that_leaps_alone() -> Iterator[type[Desk]]:
    """A mark is believed however far from the last one it is."""
    with patch.object(book, "judged", lambda *_, **__: None):
        yield Desk


@missed_by(in_weather(RequestFault("bad gateway", on="positions", from_s=3), lasts_s=150))
def increase_from_positions_told_long_ago() -> Iterator[type[Desk]]:
    """Nobody minds that questions about positions go without an answer."""
    with patch.object(risk, "INCREASES", but(risk.INCREASES, risk.positions_known)):
        yield Desk


@missed_by(scenes.a_mark_far_from_its_index)
def size_from_absurd_prices() -> Iterator[type[Desk]]:
    """The mark may be as far from the index as it likes."""

    def fresh(leg: Leg, s: risk.Situation) -> str | None:
        return plain(leg, replace(s, limits=replace(s.limits, price_gap=float("inf"))))

    plain = risk.fresh_price
    with patch.object(risk, "ALWAYS", tuple(fresh if gate is plain else gate for gate in risk.ALWAYS)):
        yield Desk


@missed_by(in_weather(RequestFault("refuse", on="account", code=-2015, from_s=2, times=1)))
def increase_while_halted() -> Iterator[type[Desk]]:
    """A halt stops nothing."""
    with patch.object(risk, "INCREASES", but(risk.INCREASES, risk.not_halted)):
        yield Desk


@missed_by(scenes.orders_under_way_count)
def forget_what_is_under_way_in_the_worst_case() -> Iterator[type[Desk]]:
    """Limits look at what is held, not at what live orders may still add."""

    def held(leg: Leg, s: risk.Situation) -> list[float] | None:
        return plain(leg, replace(s, blotter=Blotter()))

    plain = risk._worst_notionals
    with patch.object(risk, "_worst_notionals", held):
        yield Desk


def _gate(gate: risk.Gate) -> Callable[[], Iterator[type[Desk]]]:
    def without() -> Iterator[type[Desk]]:
        with patch.object(risk, "INCREASES", but(risk.INCREASES, gate)):
            yield Desk

    without.__name__ = f"leave_out_the_gate_{gate.__name__}"
    return without


for _one in (
    risk.leverage_limit,
    risk.asset_limit,
    risk.margin_limit,
    risk.liquidation_limit,
    risk.turnover_limit,
    risk.order_rate,
    risk.no_strangers,
):
    missed_by(scenes.legs_beyond_a_limit)(_gate(_one))


# Requests


@missed_by(in_weather(RequestFault("limit", chance=0.03)))
def speak_in_the_silence() -> Iterator[type[Desk]]:
    """A throttle changes nothing."""
    with patch.object(Lanes, "throttle", lambda self, until, banned=False: None):
        yield Desk


@missed_by(in_weather(Incident("use weight", weight=2_100, at_s=5, every_s=60), lasts_s=100))
def count_only_our_own_requests() -> Iterator[type[Desk]]:
    """What the venue says of a budget is not believed."""
    with patch.object(Lanes, "told", lambda self, bucket, amount, now: None):
        yield Desk


@missed_by(scenes.a_budget_that_shrinks)
def keep_to_the_budget_of_the_manual() -> Iterator[type[Desk]]:
    """A budget that the venue has made smaller is used as before."""
    with (
        patch.object(Lanes, "allow", lambda self, bucket, capacity: None),
        patch.object(Lanes, "told", lambda self, bucket, amount, now: None),
    ):
        yield Desk


@missed_by(scenes.a_flood)
def let_every_lane_use_everything() -> Iterator[type[Desk]]:
    """No part of a budget is kept for cancels."""
    with patch.dict(limits.SHARE, dict.fromkeys(limits.SHARE, 0.9)):
        yield Desk


@missed_by(scenes.an_order_that_waits_too_long)
def send_what_is_too_late() -> Iterator[type[Desk]]:
    """An order leaves however long it has waited."""
    asked = Desk._withheld

    def whatever_the_time(self: Desk, channel: Channel, request: Request, now: int) -> str | None:
        return asked(self, channel, request, 0 if isinstance(request, Place) else now)

    with patch.object(Desk, "_withheld", whatever_the_time):
        yield Desk


@missed_by(scenes.a_kill_while_an_order_waits)
def send_what_is_forbidden_by_now() -> Iterator[type[Desk]]:
    """What was decided is sent, whatever has happened since."""
    with patch.object(Engine, "forbids", lambda self, instrument, reduce: None):
        yield Desk


@missed_by(scenes.many_reconnections)
def wait_without_jitter() -> Iterator[type[Desk]]:
    """All wait equally long before they try again."""

    def backoff(attempt: int, salt: str, base_ns: int = 500_000_000, cap_ns: int = 30_000_000_000) -> int:
        return min(cap_ns, base_ns << min(attempt, 16))

    with patch.object(desk, "backoff", backoff):
        yield Desk


@missed_by(scenes.nothing_but_refusals)
def try_again_for_ever() -> Iterator[type[Desk]]:
    """Refusals in a row change nothing."""
    with patch.object(Breaker, "open", lambda self, now: {}):
        yield Desk


# Runs that end


@missed_by(scenes.a_death_with_an_order_resting)
def set_no_dead_mans_switch() -> Iterator[type[Desk]]:
    """The venue is not told what to do when the agent falls silent."""
    with patch.object(deadman.DeadMan, "due", lambda self, blotter, now: []):
        yield Desk


@missed_by(scenes.a_restart_without_a_journal)
def use_ids_of_an_earlier_run() -> Iterator[type[Desk]]:
    """Ids do not say which run they are of."""
    with patch.object(strangers, "order_id", lambda tag, epoch, number, nonce: orders.order_id(tag, 1, number)):
        yield Desk


@missed_by(scenes.a_restart_without_a_journal)
def leave_strays_alone() -> Iterator[type[Desk]]:
    """An order of ours that is not on record goes on resting."""

    def told(self: Engine, fact: Orders, guard: Guard, now: int) -> None:
        self.blotter.compare(fact, now, guard.account.rows)

    with patch.object(Engine, "_take_open_orders", told):
        yield Desk


@missed_by(scenes.a_restart_in_the_middle)
def forget_what_an_earlier_run_left_open() -> Iterator[type[Desk]]:
    """Orders without an end on record are not asked about."""
    with patch.object(Engine, "_resume", lambda self, order: None):
        yield Desk


@missed_by(storm)
def send_without_writing_down() -> Iterator[type[Desk]]:
    """Orders are not in the decision that sends them."""

    def drain(self: Blotter) -> tuple[Order, ...]:
        return tuple(order for order in plain(self) if order.state is not State.SENT)

    plain = Blotter.drain
    with patch.object(Blotter, "drain", drain):
        yield Desk
