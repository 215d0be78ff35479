"""What is wanted now, and what changes it: feeds, health, funding, money that comes and goes."""

from __future__ import annotations

from math import exp
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.carry import CarryRules
from agent.core.decisions import Memory, Note, Policy
from agent.core.drift import Bands, Drift
from agent.core.events import Balance, Fact, Filled, Flow, Funding, Interval, Leverage, Mark, Position, Side
from agent.core.health import Health
from agent.core.ledger import DAY_NS
from agent.core.mandate import Mandate
from agent.core.orders import Order
from agent.core.planner import Limits
from agent.core.reasons import Reason
from agent.core.sleeves import worths_of
from agent.core.strangers import Sharing
from agent.core.targets import Given, Strategy, Targets
from agent.core.triggers import Triggers
from tests.core.kit import START, S, Stage, book_of, order, reprice

BTC, ETH, SOL = "BTCUSDT", "ETHUSDT", "SOLUSDT"
PLAIN = Targets(weights={BTC: 0.6, ETH: 0.4}, leverage=2.0)
TWO = Targets(
    strategies={
        "trend": Strategy(capital=0.6, weights={BTC: 1.0}),
        "spread": Strategy(capital=0.4, weights={ETH: 0.5, BTC: -0.5}),
    }
)
HOURS_8 = 8 * 3_600 * S


class Scene:
    """A mandate alone, what it said and wished for, and a book of two instruments."""

    def __init__(self, targets: Targets = PLAIN, memory: Memory | None = None, **changes: Any) -> None:
        self.notes: list[Note] = []
        self.wishes: list[Reason] = []
        self.book: Book = book_of({BTC: 0.1, ETH: 0.0})
        policy = Policy(mode="live", targets=targets, **changes)
        self.mandate = Mandate(
            policy,
            memory or Memory(symbols=()),
            lambda kind, text, symbol: self.notes.append(Note(kind, text, symbol)),
            self.wishes.append,
        )

    def drift(self, now: int = START) -> Drift:
        drift = self.mandate.drift(self.book, None, now)
        assert drift is not None
        return drift

    def tend(self, now: int = START, *, quiet: bool = True, busy: bool = False) -> bool:
        return self.mandate.tend(self.book, self.drift(now), now, quiet=quiet, busy=busy)

    def mark(self, price: float, now: int) -> None:
        reprice(self.book, Mark(instrument=0, price=price, index=price, at=now), now)

    def said(self, kind: str) -> list[str]:
        return [note.text for note in self.notes if note.kind == kind]

    @property
    def lots(self) -> list[int]:
        """Of bitcoin, by owner, the unassigned last."""
        assert self.mandate.sleeves is not None
        return [owner.lots[0] for owner in self.mandate.sleeves.ledger.owners]


def fed(targets: Targets, issued_at: int = START, *, until: int = START + DAY_NS, source: str = "http") -> Given:
    return Given(targets=targets, issued_at=issued_at, valid_until=until, source=source)


LESS = replace(PLAIN, leverage=1.0)


# Targets from outside


def test_targets_of_a_feed_replace_those_in_force_and_are_remembered() -> None:
    scene = Scene()
    assert scene.drift().targets == pytest.approx([1.2, 0.8])
    scene.mandate.retarget(fed(LESS), START)
    assert scene.said("targets") == ["targets of http: BTCUSDT +60.0%, ETHUSDT +40.0%; leverage 1x"]
    assert scene.mandate.remember
    assert scene.drift().targets == pytest.approx([0.6, 0.4])


@pytest.mark.parametrize("issued_at", [START - 1, START])
def test_targets_that_are_no_newer_than_those_in_force_are_not_taken(issued_at: int) -> None:
    scene = Scene()
    scene.mandate.retarget(fed(LESS), START)
    scene.mandate.retarget(fed(PLAIN, issued_at, source="file"), START + S)
    assert scene.said("warning") == ["targets of file are older than those in force, and are not taken"]
    assert scene.mandate.targets is LESS
    scene.mandate.retarget(fed(PLAIN, START + 1), START + S)
    assert scene.mandate.targets is PLAIN


def test_targets_that_are_past_their_time_when_they_come_are_not_taken() -> None:
    scene = Scene()
    scene.mandate.retarget(fed(LESS, until=START), START)
    assert scene.said("warning") == ["targets of http are past their time, and are not taken"]
    assert (scene.mandate.given, scene.mandate.remember) == (None, False)


def test_that_targets_in_force_are_past_their_time_is_said_once_and_they_stay() -> None:
    scene = Scene()
    scene.mandate.retarget(fed(LESS, until=START + S), START)
    assert START + S in scene.mandate.dues(START)
    scene.drift(START + S - 1)
    assert scene.said("warning") == []
    scene.drift(START + S)
    assert scene.drift(START + 2 * S).targets == pytest.approx([0.6, 0.4])
    assert scene.said("warning") == ["the targets of http are past their time; they stay until newer come"]
    scene.mandate.retarget(fed(PLAIN, START + 1, until=START + 5 * S), START + 4 * S)
    scene.drift(START + 5 * S)
    assert len(scene.said("warning")) == 2, "and of the next ones again"


def test_what_a_feed_gave_before_a_restart_is_in_force_after_it() -> None:
    scene = Scene(memory=Memory(symbols=(BTC, ETH), given=fed(LESS)))
    assert scene.mandate.targets is LESS
    assert scene.mandate.given is not None


def test_targets_of_a_feed_that_name_what_the_file_no_longer_does_are_forgotten() -> None:
    strange = replace(LESS, weights={BTC: 0.5, SOL: 0.5})
    scene = Scene(memory=Memory(symbols=(BTC, SOL), given=fed(strange, START + S)))
    assert scene.mandate.targets is PLAIN
    assert scene.mandate.given is None, "the file's are in force"
    scene.mandate.retarget(fed(LESS, START), START + S)
    assert scene.mandate.targets is LESS


def test_other_capital_from_a_feed_counts_at_once() -> None:
    scene = Scene(TWO)
    scene.tend()
    swapped = {name: replace(one, capital=1.0 - one.capital) for name, one in TWO.strategies.items()}
    scene.mandate.retarget(fed(replace(TWO, strategies=swapped)), START)
    assert scene.mandate.sleeves is not None
    assert scene.mandate.sleeves.capital == pytest.approx([0.4, 0.6])
    assert scene.drift().targets == pytest.approx([0.4 - 0.3, 0.3])


# What is wanted


def test_without_equity_nothing_is_known() -> None:
    scene = Scene()
    scene.book.accounts[0].wallets.clear()
    assert scene.mandate.drift(scene.book, None, START) is None
    assert scene.mandate.wishes is None
    assert scene.mandate.missing(scene.book).startswith("equity: it is not known")
    lost = book_of({BTC: 0.1, ETH: 0.0}, equity=-1.0)
    assert scene.mandate.drift(lost, None, START) is not None


def test_what_is_on_hold_is_not_wished_for() -> None:
    scene = Scene(replace(PLAIN, weights={BTC: 1.0, ETH: "hold"}))
    assert scene.drift().targets == [2.0, None]
    assert scene.mandate.wishes == [2.0, None]


def test_shares_of_margin_follow_the_leverage_settings() -> None:
    scene = Scene(replace(PLAIN, basis="margin", utilisation=0.1))
    assert scene.drift().targets == pytest.approx([1.2, 0.8])
    scene.book.apply(Leverage(instrument=0, leverage=10), START)
    assert scene.drift().targets == pytest.approx([0.6, 0.8])
    scene.book.rows[0].leverage = None
    assert scene.mandate.drift(scene.book, None, START) is None
    assert (scene.mandate.matrix, scene.mandate.wishes) == (None, None)
    assert scene.mandate.missing(scene.book).startswith("leverage settings: ")


def test_hedges_are_the_groups_of_more_than_one() -> None:
    scene = Scene(replace(PLAIN, weights={BTC: 0.5, ETH: -0.5}), funding=CarryRules(hedges=((BTC, ETH),)))
    assert scene.mandate.hedges(scene.book, scene.drift()) == [(0, 1)]
    assert Scene().mandate.hedges(scene.book, scene.drift()) == []


def test_with_strategies_it_looks_again_at_midnight_and_without_it_need_not() -> None:
    assert Scene().mandate.dues(START + 5) == []
    assert Scene(TWO).mandate.dues(START + 5) == [START + DAY_NS]


# Funding


def settle(scene: Scene, number: int, rate: float) -> None:
    """The rate expected at the settlement of this number, told just after the one before."""
    at = START + (number - 1) * HOURS_8
    scene.book.apply(Interval(instrument=0, hours=8.0), at)
    scene.book.apply(Funding(instrument=0, rate=rate, next_at=START + number * HOURS_8, at=at), at)
    scene.mandate.drift(scene.book, None, at)


def test_funding_that_bleeds_is_a_reason_for_what_it_concerns_and_so_is_its_end() -> None:
    scene = Scene()
    for number in (1, 2, 3):
        settle(scene, number, 0.003)
    (begun,) = scene.wishes
    assert (begun.scope, begun.weighed, begun.breach) == ((0,), True, True)
    assert begun.cause.startswith("funding of BTCUSDT bleeds: ")
    assert scene.notes[-1] == Note("funding", begun.cause, BTC)
    drift = scene.mandate.drift(scene.book, None, START + 2 * HOURS_8)
    assert drift is not None
    assert drift.targets == pytest.approx([1.2, 0.8])
    assert drift.aims[0] == pytest.approx(1.2 / 1.25), "no further than the cap"
    settle(scene, 4, -0.01)
    settle(scene, 5, -0.01)
    assert [reason.cause for reason in scene.wishes[1:]] == [
        "funding of BTCUSDT no longer bleeds; its target is whole again"
    ]


# Money that comes and goes


@pytest.mark.parametrize(
    ("flow", "cause"),
    [
        (Flow("USDT", 100.0, "deposit", START), "a deposit of +100.00 USDT"),
        (Flow("USDT", -100.0, "withdrawal", START), "a withdrawal of -100.00 USDT"),
        (Flow("USDT", 5_000.0, "transfer", START), "a transfer of +5,000.00 USDT"),
        (Flow("USDT", 99.0, "deposit", START), None),
        (Flow("USDT", -500.0, "funding", START), None),
        (Flow("BNB", 500.0, "deposit", START), None),
    ],
)
def test_money_is_a_reason_from_its_part_of_equity_on(flow: Flow, cause: str | None) -> None:
    scene = Scene()
    scene.mandate.flowed(flow, scene.book)
    assert [reason.cause for reason in scene.wishes] == ([] if cause is None else [cause])
    assert not any(reason.breach for reason in scene.wishes)
    assert not scene.mandate.remember, "there is no ledger to keep"


def test_while_equity_is_not_known_money_is_no_reason() -> None:
    scene = Scene()
    scene.book.accounts[0].wallets.clear()
    scene.mandate.flowed(Flow("USDT", 5_000.0, "deposit", START), scene.book)
    assert scene.wishes == []


def test_with_strategies_the_ledger_hears_of_money_and_of_fills() -> None:
    scene = Scene(TWO)
    scene.mandate.filled(order(), filled(10), scene.book)
    assert not scene.mandate.remember, "before it is known what is wanted, a fill is found when the account is compared"
    scene.tend()
    scene.mandate.remember = False
    scene.mandate.flowed(Flow("USDT", 50.0, "deposit", START), scene.book)
    assert scene.mandate.remember
    assert scene.mandate.sleeves is not None
    assert scene.mandate.sleeves.unassigned(scene.book) == pytest.approx(50.0)
    scene.mandate.remember = False
    scene.mandate.filled(order(), filled(10), scene.book)
    assert scene.mandate.remember
    assert sum(scene.lots) == 110


def filled(lots: int) -> Filled:
    return Filled("o1", 0, f"t{lots}", lots, 60_000.0, 0.0, "USDT", False, abs(lots), START)


def test_without_strategies_there_is_nothing_to_tend() -> None:
    scene = Scene()
    scene.mandate.filled(order(), filled(10), scene.book)
    scene.mandate.share_out(scene.book, "done")
    assert scene.tend() is False
    assert (scene.notes, scene.wishes, scene.mandate.remember) == ([], [], False)


# Sharing out


def test_at_the_start_the_account_is_taken_as_it_is_and_shared_out() -> None:
    scene = Scene(TWO)
    scene.mandate.share_out(scene.book, "too early")
    assert scene.tend() is False
    assert scene.said("strategies") == [
        "the start: capital is shared out, trend +6,000.00, spread +4,000.00; "
        "positions worth 6,000 changed hands inside the account"
    ]
    assert scene.said("warning") == [], "what was there before is not strange"
    assert scene.lots == [100, 0, 0]
    assert scene.mandate.remember


def test_a_strategy_out_of_its_band_is_confirmed_and_brought_back_without_a_trade() -> None:
    scene = Scene(TWO, bands=Bands(strategy=0.05), triggers=Triggers(confirm_s=5, cool_down_s=60))
    scene.tend()
    scene.mark(78_000.0, START + S)
    scene.tend(START + S)
    assert scene.mandate.dues(START + S)[0] == START + 6 * S
    scene.tend(START + 5 * S)
    assert len(scene.said("strategies")) == 1
    scene.tend(START + 6 * S)
    share = scene.said("strategies")[1]
    assert share.startswith(
        "strategy trend and strategy spread out of its band: capital is shared out, trend -720.00, spread +720.00"
    )
    scene.tend(START + 90 * S)
    assert len(scene.said("strategies")) == 2


def test_while_a_correction_is_under_way_capital_waits_and_is_not_forgotten_if_that_comes_to_nothing() -> None:
    scene = Scene(TWO, bands=Bands(strategy=0.05), triggers=Triggers(confirm_s=5, cool_down_s=60))
    scene.tend()
    scene.mark(78_000.0, START + S)
    for second in (1, 6, 7):
        scene.tend(START + second * S, busy=True)
    assert len(scene.said("strategies")) == 1
    scene.tend(START + 70 * S)
    scene.tend(START + 75 * S)
    assert len(scene.said("strategies")) == 2


def test_a_sharing_out_that_moves_nothing_is_not_worth_a_word() -> None:
    scene = Scene(TWO)
    scene.tend()
    scene.mandate.remember = False
    scene.mandate.share_out(scene.book, "done")
    assert len(scene.said("strategies")) == 1
    assert scene.mandate.remember


# What others did


def foreign(scene: Scene, lots: int, wallet: float = 10_000.0) -> None:
    scene.book.apply(Position(instrument=0, side=Side.NET, lots=lots, entry=60_000.0, at=START + S), START + S)
    scene.book.apply(Balance(asset="USDT", wallet=wallet, at=START + S), START + S)
    scene.mandate.doubted = True


def test_lots_that_no_strategy_has_traded_are_said_once_and_belong_to_nobody() -> None:
    scene = Scene(TWO)
    scene.tend()
    foreign(scene, 90)
    scene.tend(START + S, quiet=False)
    assert scene.said("warning") == [], "not before position and wallet are as of one moment"
    assert scene.mandate.doubted
    for second in (2, 3):
        scene.tend(START + second * S)
        scene.mandate.doubted = True
    text = "-10 lots that no strategy has traded; they are unassigned until the next correction"
    assert [note for note in scene.notes if note.kind == "warning"] == [Note("warning", text, BTC)]
    assert scene.lots == [100, 0, -10]
    scene.mandate.share_out(scene.book, "done")
    assert scene.lots[2] == 0


@pytest.mark.parametrize(("wallet", "said"), [(10_000.02, True), (10_000.005, False)])
def test_equity_that_nothing_explains_is_said_if_it_is_more_than_rounding(wallet: float, said: bool) -> None:
    scene = Scene(TWO)
    scene.tend()
    foreign(scene, 100, wallet)
    scene.tend(START + S)
    text = f"{wallet - 10_000:+,.2f} of equity that no fill, fee or funding explains is unassigned"
    assert scene.said("warning") == ([text] if said else [])


# Health


WATCHED = replace(
    TWO, strategies={**TWO.strategies, "trend": replace(TWO.strategies["trend"], health=Health(window_days=2))}
)


def test_a_strategy_whose_health_turns_is_a_reason_for_what_it_held_and_is_not_weighed() -> None:
    scene = Scene(WATCHED)
    scene.tend()
    scene.mandate.remember = False
    scene.mark(48_000.0, START + DAY_NS)
    assert scene.tend(START + DAY_NS) is True
    (text,) = scene.said("health")
    assert text == "strategy trend is reduced, 50% of its capital: drawdown, drawdown 20.0%"
    (reason,) = scene.wishes
    assert (reason.cause, reason.weighed, reason.scope) == (text, False, (0, 1))
    assert scene.mandate.wishes == pytest.approx([0.3 - 0.25, 0.25]), "and spread gets a quarter more of its own"
    assert scene.mandate.remember
    assert scene.tend(START + DAY_NS + S) is False


def test_only_the_instruments_whose_wish_has_changed_are_in_its_scope() -> None:
    scene = Scene(replace(WATCHED, freed="cash"))
    scene.tend()
    scene.mark(48_000.0, START + DAY_NS)
    scene.tend(START + DAY_NS)
    assert [reason.scope for reason in scene.wishes] == [(0,)]


# The whole engine: everything always adds up


THREE = Targets(
    leverage=2.0,
    strategies={
        "trend": Strategy(capital=0.5, weights={BTC: 0.7, SOL: 0.3}, health=Health(window_days=2)),
        "spread": Strategy(capital=0.3, weights={ETH: 0.5, BTC: -0.5}),
        "short": Strategy(capital=0.15, leverage=3.0, weights={SOL: -0.6, ETH: 0.4}),
    },
)
"""A twentieth of equity is nobody's; the wishes for bitcoin and sol are opposed."""


class Exchange:
    """An account that everything happens to, with books of its own: what the agent says must agree with them."""

    def __init__(self, seed: int, *, others: bool) -> None:
        self.chance = Random(seed)
        self.others = others
        """Somebody else trades on the account as well."""
        policy = Policy(
            mode="live",
            targets=THREE,
            bands=Bands(destination=self.chance.choice(["edge", "target"]), strategy=0.03),
            triggers=Triggers(confirm_s=1.0, cool_down_s=5.0),
            limits=Limits(turnover_per_day=1e6, orders_per_minute=10_000),
        )
        self.on = Stage(policy, {BTC: 0.1}, equity=100_000.0, sharing=Sharing(foreign="adopt")).ready()
        self.flowed = 0.0
        self.open: list[Order] = []
        self.rounds = 0
        self.checks = 0
        self.begun: float | None = None
        """What was earned when it was first looked at."""

    @property
    def equity(self) -> float:
        """By the exchange's own books."""
        on, total = self.on, self.on.wallet
        for (index, _), (lots, entry) in on.held.items():
            if entry is not None:
                total += on.instruments[index].profit(lots, entry, on.prices[on.symbols[index]])
        return total

    def happen(self) -> None:
        kinds = [self.moves, self.funds, self.deposits, self.sleeps, self.moves, *[self.meddles] * self.others]
        self.chance.choice(kinds)()
        for _ in range(30):
            if not self.open:
                break
            self.trades(self.open.pop(0))
            self.check()
        self.check()

    def tell(self, *facts: Fact, after: float = 0.1) -> None:
        self.open += self.on.tell(*facts, after=after)

    def moves(self) -> None:
        """Prices change, and time passes."""
        for symbol in self.on.symbols:
            self.on.prices[symbol] *= exp(self.chance.gauss(0.0, 0.03))
        for _ in range(4):
            self.tell(*self.on.marks(), after=1.0)

    def sleeps(self) -> None:
        """A day or a half passes at once: health is judged at midnight."""
        self.on.now += self.chance.choice([1, 2]) * DAY_NS // 2
        for _ in range(3):
            self.tell(*self.on.marks(), after=1.0)

    def money(self, amount: float, kind: str) -> None:
        self.on.wallet += amount
        at = self.on.venue_now
        self.tell(Balance(asset="USDT", wallet=self.on.wallet, at=at), Flow("USDT", amount, kind, at))

    def deposits(self) -> None:
        amount = round(self.chance.uniform(-0.1, 0.15) * self.equity, 2)
        self.flowed += amount
        self.money(amount, "deposit" if amount > 0 else "withdrawal")

    def funds(self) -> None:
        """Funding of one instrument is settled."""
        index = self.chance.randrange(3)
        rate, at = self.chance.uniform(-0.001, 0.001), self.on.venue_now
        held = sum(lots for (i, _), (lots, _) in self.on.held.items() if i == index)
        value = self.on.instruments[index].notional(held, self.on.prices[self.on.symbols[index]])
        self.tell(Funding(instrument=index, rate=rate, next_at=at + S, at=at), after=0.0)
        self.money(round(-rate * value, 8), "funding")

    def meddles(self) -> None:
        """Somebody trades by hand, at another price than the mark."""
        index = self.chance.randrange(3)
        symbol = self.on.symbols[index]
        lots = self.on.lots_of(symbol, self.chance.uniform(-0.1, 0.1) * self.equity / self.on.prices[symbol])
        if lots:
            name = f"by hand {self.on.trades}"
            self.fills(order(name, instrument=index, symbol=symbol, lots=lots), abs(lots), fee=0.1)

    def fills(self, placed: Order, lots: int, fee: float) -> None:
        price = self.on.prices[placed.symbol] * (1 + self.chance.gauss(0.0, 0.0005))
        done = self.on.trade(placed, lots, price)
        self.on.wallet -= fee
        told: list[Fact] = [Balance(asset="USDT", wallet=self.on.wallet, at=self.on.venue_now)]
        told += [replace(fact, fee=fee) if isinstance(fact, Filled) else fact for fact in done[1:]]
        self.tell(*told)

    def trades(self, placed: Order) -> None:
        """An order fills at once, in pieces, or not to its end."""
        left = abs(placed.lots)
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            lots = left if self.chance.random() < 0.5 else self.chance.randint(0, left)
            if not lots:
                continue
            one = self.on.engine.blotter.orders[placed.id]
            self.fills(replace(placed, filled_lots=one.filled_lots), lots, fee=round(self.chance.uniform(0, 5), 4))
            left -= lots
        self.tell(*self.on.finish(placed, abs(placed.lots) - left, "expired" if left else "filled"))
        self.rounds += 1

    def check(self) -> None:
        engine = self.on.engine
        sleeves, worths = engine.mandate.sleeves, worths_of(engine.book)
        assert sleeves is not None
        assert worths is not None
        if engine.blotter.live() or engine.book.disputed or engine.mandate.doubted:
            return
        self.checks += 1
        ledger, equity = sleeves.ledger, self.equity
        near = 1e-6 * equity
        for index in range(3):
            held = sum(lots for (i, _), (lots, _) in self.on.held.items() if i == index)
            assert ledger.lots(index) == held
        assert sum(owner.equity(worths) for owner in ledger.owners) == pytest.approx(equity, abs=near)
        earned = sum(owner.earned(worths).total for owner in ledger.owners) - equity + self.flowed
        self.begun = earned if self.begun is None else self.begun
        assert earned == pytest.approx(self.begun, abs=near), "profit is the change of equity less what came and went"
        strange = [text for text in self.on.said("warning") if "no strategy has traded" in text or "explains" in text]
        assert self.others or not strange


@pytest.mark.parametrize("others", [False, True], ids=["alone", "with others"])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_ledgers_add_up_to_the_account_and_profits_to_its_change(seed: int, others: bool) -> None:
    exchange = Exchange(seed, others=others)
    for _ in range(120):
        exchange.happen()
    assert exchange.rounds > 10, "there was something to add up"
    assert exchange.checks > 100
