"""Binance COIN-M perpetuals: what they say otherwise than USDⓈ-M ones (`adapters.binance`).

Contracts are inverse, worth a fixed number of dollars each, and every coin is a margin pool of its own: one key sees
them all, a portfolio has one of them. What is about another coin is not about this account and goes unsaid.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Final

from msgspec import Meta, Raw, Struct, field
from msgspec.json import Decoder
from msgspec.structs import replace

from adapters import binance_frames as wire
from adapters.binance import Binance
from adapters.binance_terms import QUESTIONS, Route
from adapters.reading import RAWS, Ms, above_zero, amount, exact, number
from agent.core import events as fact
from agent.core.events import Fact
from agent.core.instruments import Instrument, Tier
from agent.core.venue import Ask, Call, Credentials, What

REST_URL: Final = "https://dapi.binance.com"
STREAM_URL: Final = "wss://dstream.binance.com"

ROUTES: Final = {
    What.TIME: Route("/dapi/v1/time", 1, private=False),
    What.INSTRUMENTS: Route("/dapi/v1/exchangeInfo", 1, private=False),
    What.PRICES: Route("/dapi/v1/premiumIndex", 10, private=False),
    What.INTERVALS: Route("/dapi/v1/fundingInfo", 1, private=False, bucket="funding_5m"),
    What.TIERS: Route("/dapi/v2/leverageBracket", 2),
    What.FEES: Route("/dapi/v1/commissionRate", 20),
    What.LEVERAGE: Route("/dapi/v1/positionRisk", 1),
    What.MODE: Route("/dapi/v1/account", 5),
    What.ACCOUNT: Route("/dapi/v1/account", 5),
    What.POSITIONS: Route("/dapi/v1/positionRisk", 1),
    What.ORDERS: Route("/dapi/v1/openOrders", 40),
    What.ORDER: Route("/dapi/v1/order", 1),
    What.TRADES: Route("/dapi/v1/userTrades", 5),
    What.VOLUMES: Route("/dapi/v1/ticker/24hr", 40, private=False),
    What.KEY: Route("/dapi/v1/listenKey", 1),
    What.OWNER: Route("/dapi/v1/balance", 1),
    What.RIGHTS: QUESTIONS[What.RIGHTS],
}
"""How each question is asked. No question is about settings alone: leverage stands beside positions, and whether the
account keeps longs and shorts apart shows in the rows of its positions."""


class Contract(Struct, frozen=True, rename="camel"):
    """A contract and its rules; ``contract_size`` is what one is worth in the quote currency."""

    contract_type: str
    contract_status: str
    contract_size: Decimal
    base_asset: str
    quote_asset: str
    margin_asset: str
    filters: list[wire.Filter]


class Bracket(Struct, frozen=True, rename="camel"):
    """A line of a margin table, in the coin. Its lower end is spelt as in the venue's document, or as it should be."""

    initial_leverage: Annotated[int, Meta(ge=1)]
    qty_cap: Annotated[float, Meta(gt=0)]
    maint_margin_ratio: Annotated[float, Meta(ge=0, le=1)]
    cum: Annotated[float, Meta(ge=0)]
    qty_floor: Annotated[float, Meta(ge=0)] | None = None
    spelt_floor: Annotated[float, Meta(ge=0)] | None = field(name="qtylFloor", default=None)

    @property
    def floor(self) -> float:
        """Where it begins."""
        found = self.spelt_floor if self.qty_floor is None else self.qty_floor
        if found is None:
            raise ValueError("a bracket without a lower end")
        return found


class Brackets(Struct, frozen=True, rename="camel"):
    """A margin table, scaled by ``notional_coef`` where the account has its own."""

    brackets: Annotated[list[Bracket], Meta(min_length=1)]
    notional_coef: Annotated[float, Meta(gt=0)] = 1.0


class Ticker(Struct, frozen=True, rename="camel"):
    """The statistics of the last 24 hours: what was traded in coins, and at which price."""

    base_volume: str
    weighted_avg_price: str


class Pool(Struct, frozen=True, rename="camel"):
    """What is held in one coin, and the margin that its contracts take."""

    asset: str
    wallet_balance: str
    margin_balance: str
    initial_margin: str
    maint_margin: str
    available_balance: str


class Kept(Struct, frozen=True, rename="camel"):
    """A position of the account and the margin that it takes; its row shows whether longs and shorts are kept apart."""

    symbol: str
    position_side: wire.Row
    position_amt: str
    maint_margin: str


class Account(Struct, frozen=True, rename="camel"):
    """All pools of the account."""

    can_trade: bool
    assets: list[Pool]
    positions: list[Kept]


class Risk(Struct, frozen=True, rename="camel"):
    """A position and the settings of its symbol. Where it is isolated, ``isolated_margin`` is what it is worth."""

    symbol: str
    position_side: wire.Row
    position_amt: str
    entry_price: str
    un_realized_profit: str = field(name="unRealizedProfit")
    leverage: str
    margin_type: str
    isolated_margin: str
    update_time: Ms


CONTRACT = Decoder(Contract)
BRACKETS = Decoder(Brackets)
TICKER = Decoder(Ticker)
ACCOUNT = Decoder(Account)
RISKS = Decoder(list[Risk])


class BinanceCoin(Binance):
    """Binance COIN-M perpetuals of one coin, ``settle``; everything else is as for `Binance`."""

    name = "binance-coinm"
    routes = ROUTES
    root = "/dapi/v1"
    home = REST_URL
    categories = False

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        settle: str,
        credentials: Credentials | None,
        rest_url: str = REST_URL,
        stream_url: str = STREAM_URL,
        rights_url: str | None = None,
        recv_window_ms: int = 3_000,
        depth: bool = False,
    ) -> None:
        super().__init__(
            symbols=symbols,
            credentials=credentials,
            rest_url=rest_url,
            stream_url=stream_url,
            rights_url=rights_url,
            recv_window_ms=recv_window_ms,
            depth=depth,
        )
        self.settle = settle
        others = [symbol for symbol in self.symbols if not self._ours(symbol)]
        if others:
            raise ValueError(f"symbols: {others[0]} is not settled in {settle}, such as {settle}USD_PERP")

    def _ours(self, symbol: str) -> bool:
        return symbol.startswith(f"{self.settle}USD")

    def _holds(self, asset: str) -> bool:
        return asset == self.settle

    def _instrument(self, index: int, row: Raw) -> Instrument | None:
        contract = CONTRACT.decode(row)
        if contract.contract_type != "PERPETUAL":
            return None
        if contract.margin_asset != self.settle:
            raise ValueError(f"it is settled in {contract.margin_asset:.20}")
        rules = wire.Contract(
            contract_type=contract.contract_type,
            status=contract.contract_status,
            base_asset=contract.base_asset,
            quote_asset=contract.quote_asset,
            margin_asset=contract.margin_asset,
            filters=contract.filters,
        )
        listed = wire.instrument_of(self.name, index, self.symbols[index], rules)
        return replace(listed, multiplier=above_zero(str(contract.contract_size)), inverse=True)

    def _ask_answer(self, ask: Ask, call: Call, body: bytes, now: int) -> Sequence[Fact]:
        match ask.what:
            case What.TIERS:
                return self._each(ask.what, RAWS.decode(body), _tier_facts)
            case What.VOLUMES:
                return self._each(ask.what, RAWS.decode(body), _volume_facts)
            case What.LEVERAGE:
                return self._leverage_facts(RISKS.decode(body))
            case What.MODE:
                return self._mode_facts(ACCOUNT.decode(body))
            case What.ACCOUNT:
                return self._account_facts(ACCOUNT.decode(body), self._offset.earliest(call.at))
            case What.POSITIONS:
                rows = [_position(row) for row in RISKS.decode(body)]
                return self._positions_answer(rows, self._offset.earliest(call.at))
            case _:
                return super()._ask_answer(ask, call, body, now)

    def _leverage_facts(self, rows: Sequence[Risk]) -> list[Fact]:
        """The settings of the portfolio's symbols, each once: rows of longs and shorts repeat them."""
        found: dict[int, Fact] = {}
        for row in rows:
            if (index := self._index.get(row.symbol)) is not None:
                isolated = {"isolated": True, "cross": False}.get(row.margin_type.lower())
                found[index] = fact.Leverage(index, _leverage(row.leverage), isolated)
        return list(found.values())

    def _mode_facts(self, account: Account) -> list[Fact]:
        """Longs and shorts have a row each where they are kept apart; else there is one for both."""
        sides = {row.position_side for row in account.positions if row.symbol in self._index}
        if not sides:
            raise ValueError("no row of a position tells how they are kept")
        return [fact.Mode(hedge=sides != {"BOTH"}, multi_asset=False, can_trade=account.can_trade)]

    def _account_facts(self, account: Account, asked_at: int) -> list[Fact]:
        pool = next((row for row in account.assets if row.asset == self.settle), None)
        if pool is None:
            raise ValueError(f"nothing about {self.settle} in it")
        margin = fact.Margin(
            wallet=number(pool.wallet_balance),
            equity=number(pool.margin_balance),
            initial=number(pool.initial_margin),
            maintenance=number(pool.maint_margin),
            available=number(pool.available_balance),
            asked_at=asked_at,
            reserves=tuple(
                fact.Reserve(self._index[row.symbol], wire.SIDES[row.position_side], number(row.maint_margin))
                for row in account.positions
                if row.symbol in self._index and exact(row.position_amt)
            ),
        )
        return [margin, fact.Balance(pool.asset, number(pool.wallet_balance), asked_at)]


def _volume_facts(index: int, row: Raw) -> list[Fact]:
    ticker = TICKER.decode(row)
    return [fact.Volume(index, amount(ticker.base_volume) * amount(ticker.weighted_avg_price))]


def _tier_facts(index: int, row: Raw) -> list[Fact]:
    """The margin table, with the account's own scale applied."""
    table = BRACKETS.decode(row)
    k = table.notional_coef
    tiers = [
        Tier(one.floor * k, one.qty_cap * k, one.maint_margin_ratio, one.cum * k, one.initial_leverage)
        for one in table.brackets
    ]
    return [fact.Tiers(index, tuple(sorted(tiers, key=lambda tier: tier.floor)))]


def _leverage(text: str) -> int:
    found = exact(text)
    if found != found.to_integral_value() or not 1 <= found <= 1000:
        raise ValueError(f"leverage {text:.20}")
    return int(found)


def _position(row: Risk) -> wire.PositionRow:
    """A position as the other product words it: the wallet of an isolated one is its worth less its profit."""
    isolated = row.margin_type.lower() == "isolated"
    wallet = exact(row.isolated_margin) - exact(row.un_realized_profit) if isolated else Decimal(0)
    return wire.PositionRow(
        symbol=row.symbol,
        side=row.position_side,
        amount=row.position_amt,
        entry=row.entry_price,
        at=row.update_time,
        wallet=str(wallet),
        worth=row.isolated_margin if isolated else "0",
    )
