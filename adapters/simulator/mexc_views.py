"""What MEXC writes of contracts, prices, orders and positions, as plain dictionaries. Quantities are in contracts.

Numbers are JSON numbers, orders have ids of text, positions of digits.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from msgspec import Struct

from adapters.simulator.account import Account, Position
from adapters.simulator.book import Level
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.margin import maintenance_margin
from adapters.simulator.orders import ZERO, Event, Expiry, Fill, Filled, FundingRow, Order, WalletChanged

View = dict[str, Any]

_DAY_MS = 86_400_000
_EIGHT = Decimal("1e-8")

_SIZES = {"BTCUSDT": Decimal("0.0001"), "ETHUSDT": Decimal("0.01"), "SOLUSDT": Decimal("0.1")}
"""Base units in a contract, as at the venue; a contract is never larger than the lot of the exchange behind it."""

_STATES = {"NEW": 2, "PARTIALLY_FILLED": 2, "FILLED": 3}
_ERRORS = {Expiry.REDUCE_ONLY: 10, Expiry.LIQUIDATED: 13, Expiry.DELISTED: 11, Expiry.MARKET_REST: 8}
_TYPES = {"GTC": 1, "GTX": 2, "IOC": 3, "FOK": 4}
_CATEGORIES = {"autoclose-": 2, "adl_autoclose": 4, "settlement_autoclose-": 3}
"""What kind of order the exchange itself has made, by how its id begins."""


def num(value: Decimal) -> int | float:
    """A JSON number, whole where it is."""
    return int(value) if value == value.to_integral_value() else float(value)


def side_of(order: Order) -> int:
    """1 opens a long, 2 closes a short, 3 opens a short, 4 closes a long."""
    closes = (
        order.reduce_only if order.position_side == "BOTH" else (order.side > 0) == (order.position_side == "SHORT")
    )
    return (2 if closes else 1) if order.side > 0 else (4 if closes else 3)


def category_of(order: Order) -> int:
    """1 is a client's order, 2 a take-over, 3 the end of a contract, 4 auto-deleveraging."""
    return next((kind for start, kind in _CATEGORIES.items() if order.client_id.startswith(start)), 1)


class Episode(Struct):
    """A position from its opening to its end; `hold_fee` is the funding that it has received."""

    id: int
    direction: int
    opened_ms: int
    entry: Decimal = ZERO
    hold_fee: Decimal = ZERO
    close_vol: Decimal = ZERO
    close_worth: Decimal = ZERO
    realised: Decimal = ZERO


class Paid(Struct):
    """What an order has cost and brought so far."""

    maker: Decimal = ZERO
    taker: Decimal = ZERO
    profit: Decimal = ZERO


class Views:
    """An exchange as this venue writes it: names, contract sizes, and the numbers of its positions."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.names = {symbol: f"{one.base}_{one.quote}" for symbol, one in exchange.instruments.items()}
        self.symbols = {name: symbol for symbol, name in self.names.items()}
        self.barred: set[str] = set()
        """Symbols that the interface may not trade, though the venue does."""
        self.versions: dict[int, int] = {}
        """By order: how often it has changed."""
        self.paid: dict[int, Paid] = {}
        self._sizes = {
            symbol: min(_SIZES.get(symbol, one.step), one.step) for symbol, one in exchange.instruments.items()
        }
        self._fixed = {symbol: book.mark for symbol, book in exchange.books.items()}
        self._episodes: dict[tuple[str, str, str], Episode] = {}
        self._next_position = 1_000_000 + exchange.random.randrange(10**6)

    # Units

    def vol(self, symbol: str, quantity: Decimal) -> Decimal:
        """So much of the base asset in contracts."""
        return quantity / self._sizes[symbol]

    def quantity(self, symbol: str, vol: Decimal) -> Decimal:
        """So many contracts in the base asset."""
        return vol * self._sizes[symbol]

    # Positions

    def note(self, event: Event) -> list[View]:
        """Take note of what happened; gives the positions that it has changed, those that it has ended first."""
        match event:
            case Filled():
                return self._note_fill(event)
            case WalletChanged(kind="FUNDING_FEE"):
                return self._note_funding(event)
            case WalletChanged(positions=views):
                account = self.exchange.accounts[event.account]
                return [self.position(account, account.position(one.symbol, one.side)) for one in views if one.quantity]
        return []

    def _note_fill(self, event: Filled) -> list[View]:
        account, fill, order = self.exchange.accounts[event.order.account], event.fill, event.order
        paid = self.paid.setdefault(order.id, Paid())
        paid.profit += fill.realised
        if fill.maker:
            paid.maker += fill.fee
        else:
            paid.taker += fill.fee
        held = account.position(order.symbol, order.position_side)
        key = (account.api_key, order.symbol, order.position_side)
        before, after = held.quantity - fill.side * fill.quantity, held.quantity
        changed: list[View] = []
        if before:
            episode = self._episodes.get(key) or self._open(key, before, fill.at_ms)
            closed = min(abs(before), fill.quantity) if before * fill.side < 0 else ZERO
            episode.close_vol += closed
            episode.close_worth += closed * fill.price
            episode.realised += fill.realised - fill.fee
            if before * after <= 0:
                del self._episodes[key]
                changed.append(self._ended(account, held, episode))
        if after:
            self._episodes.get(key) or self._open(key, after, fill.at_ms)
            changed.append(self.position(account, held))
        return changed

    def _note_funding(self, event: WalletChanged) -> list[View]:
        """Funding goes to the position whose side fits: what one side pays the other receives."""
        account = self.exchange.accounts[event.account]
        rows = self.exchange.funding_rows[event.symbol]
        pays = rows[-1].rate if rows else ZERO
        changed = []
        for held in account.held():
            if held.symbol == event.symbol and (held.quantity * pays < 0) == (event.change > 0):
                episode = self.episode(account, held)
                episode.hold_fee += event.change
                episode.realised += event.change
                changed.append(self.position(account, held))
        return changed

    def episode(self, account: Account, held: Position) -> Episode:
        """The number and the record of a position that is open."""
        key = (account.api_key, held.symbol, held.side)
        return self._episodes.get(key) or self._open(key, held.quantity, held.updated_ms)

    def _open(self, key: tuple[str, str, str], quantity: Decimal, at_ms: int) -> Episode:
        self._next_position += 1
        episode = self._episodes[key] = Episode(self._next_position, 1 if quantity > 0 else 2, at_ms)
        return episode

    def numbered(self, account: Account, number: int) -> Position | None:
        """The open position of a number."""
        return next((held for held in account.held() if self.episode(account, held).id == number), None)

    def position(self, account: Account, held: Position) -> View:
        """A position that is open."""
        episode, symbol = self.episode(account, held), held.symbol
        one, mark = self.exchange.instruments[symbol], self.exchange.books[symbol].mark
        size, entry = abs(held.quantity), held.entry.quantize(_EIGHT)
        isolated = account.is_isolated(symbol)
        episode.entry = entry
        margin = held.wallet if isolated else (size * mark / account.leverage(symbol)).quantize(_EIGHT)
        price = self.exchange.liquidation_price(account, held)
        return {
            **self._frame(account, symbol, episode),
            "state": 1,
            "holdVol": num(self.vol(symbol, size)),
            "frozenVol": num(self.vol(symbol, self._frozen(account, held))),
            "liquidatePrice": 0 if price is None else float(price.quantize(one.tick)),
            "oim": float(margin),
            "im": float(margin),
            "marginRatio": float(maintenance_margin(one, size * mark) / margin) if margin > 0 else 1.0,
            "updateTime": held.updated_ms,
        }

    def _ended(self, account: Account, held: Position, episode: Episode) -> View:
        return {
            **self._frame(account, held.symbol, episode),
            "state": 3,
            "holdVol": 0,
            "frozenVol": 0,
            "liquidatePrice": 0,
            "oim": 0,
            "im": 0,
            "updateTime": held.updated_ms,
        }

    def _frame(self, account: Account, symbol: str, episode: Episode) -> View:
        closed = episode.close_vol
        return {
            "positionId": episode.id,
            "symbol": self.names[symbol],
            "positionType": episode.direction,
            "openType": 1 if account.is_isolated(symbol) else 2,
            "closeVol": num(self.vol(symbol, closed)),
            "holdAvgPrice": float(episode.entry),
            "openAvgPrice": float(episode.entry),
            "closeAvgPrice": float((episode.close_worth / closed).quantize(_EIGHT)) if closed else 0,
            "holdFee": float(episode.hold_fee),
            "realised": float(episode.realised),
            "leverage": account.leverage(symbol),
            "createTime": episode.opened_ms,
            "autoAddIm": False,
            "adlLevel": 1,
        }

    def _frozen(self, account: Account, held: Position) -> Decimal:
        """How much of a position is about to be closed by open orders."""
        closing = (
            order.left
            for order in account.open_orders.values()
            if (order.symbol, order.position_side) == (held.symbol, held.side)
            and order.side * held.quantity < 0
            and side_of(order) in (2, 4)
        )
        return min(abs(held.quantity), sum(closing, ZERO))

    # Orders

    def order(self, order: Order) -> View:
        """An order as it stands."""
        paid, symbol = self.paid.get(order.id) or Paid(), order.symbol
        account = self.exchange.accounts[order.account]
        leverage = account.leverage(symbol)
        return {
            "orderId": str(order.id),
            "symbol": self.names[symbol],
            "positionId": 0,
            "price": num(order.price),
            "vol": num(self.vol(symbol, order.quantity)),
            "leverage": leverage,
            "side": side_of(order),
            "category": category_of(order),
            "orderType": 5 if order.kind == "MARKET" else _TYPES.get(order.time_in_force, 1),
            "dealAvgPrice": num(order.average_price.quantize(_EIGHT)),
            "dealVol": num(self.vol(symbol, order.executed)),
            "orderMargin": float(order.left * order.price / leverage) if order.is_open else 0,
            "usedMargin": 0,
            "takerFee": float(paid.taker),
            "makerFee": float(paid.maker),
            "profit": float(paid.profit),
            "feeCurrency": account.asset,
            "openType": 1 if account.is_isolated(symbol) else 2,
            "state": _STATES.get(order.status, 4),
            "externalOid": order.client_id if category_of(order) == 1 else f"_m_{order.id}",
            "errorCode": self._error(order),
            "createTime": order.created_ms,
            "updateTime": order.updated_ms,
            "positionMode": 1 if account.hedge else 2,
            "reduceOnly": order.reduce_only and order.position_side == "BOTH",
            "version": self.versions.get(order.id, 1),
        }

    def _error(self, order: Order) -> int:
        """Why it ended: a post-only order that would have taken is cancelled by the system."""
        if order.status == "EXPIRED" and order.time_in_force == "GTX" and order.expiry == Expiry.NONE:
            return 8
        return _ERRORS.get(order.expiry, 0)

    def deal(self, fill: Fill) -> View:
        """A fill, but for what the stream and the question call differently."""
        order = self.exchange.ledger.orders[fill.order_id]
        account = self.exchange.accounts[fill.account]
        return {
            "id": str(fill.id),
            "symbol": self.names[fill.symbol],
            "side": side_of(order),
            "vol": num(self.vol(fill.symbol, fill.quantity)),
            "price": num(fill.price),
            "feeCurrency": account.asset,
            "fee": float(fill.fee),
            "timestamp": fill.at_ms,
            "profit": float(fill.realised),
            "category": category_of(order),
            "orderId": str(fill.order_id),
            "positionMode": 1 if account.hedge else 2,
        }

    def asset(self, account: Account) -> View:
        """The wallet of the account's one asset."""
        marks = self.exchange.matcher.mark
        held, orders = account.total_initial_margin(marks)
        isolated = sum((one.wallet for one in account.positions.values()), ZERO)
        cross = sum(
            (account.initial_margin(one.symbol, one.side, marks(one.symbol))[0] for one in account.shared()), ZERO
        )
        margin = (isolated + cross).quantize(_EIGHT)
        frozen, unrealised = orders.quantize(_EIGHT), account.unrealised(marks).quantize(_EIGHT)
        assert held >= cross, "the margin of all positions holds that of those that share the wallet"
        return {
            "currency": account.asset,
            "positionMargin": float(margin),
            "availableBalance": float(account.wallet - margin - frozen),
            "cashBalance": float(account.wallet),
            "frozenBalance": float(frozen),
            "equity": float(account.wallet + unrealised),
            "unrealized": float(unrealised),
            "bonus": 0,
        }

    # The market

    def contract(self, symbol: str) -> View:
        """A contract with its rules; its margin table is in contracts."""
        one, size = self.exchange.instruments[symbol], self._sizes[symbol]
        first = one.brackets[0]
        fees = self.exchange.fees
        return {
            "symbol": self.names[symbol],
            "displayName": f"{self.names[symbol]}永续",
            "displayNameEn": f"{self.names[symbol]} PERPETUAL",
            "positionOpenType": 3,
            "baseCoin": one.base,
            "quoteCoin": one.quote,
            "baseCoinName": one.base,
            "quoteCoinName": one.quote,
            "futureType": 1,
            "settleCoin": one.quote,
            "contractSize": num(size),
            "minLeverage": 1,
            "maxLeverage": first.leverage,
            "priceScale": one.price_decimals,
            "volScale": max(0, -int(self.vol(symbol, one.step).normalize().as_tuple().exponent)),
            "amountScale": 4,
            "priceUnit": num(one.tick),
            "volUnit": num(self.vol(symbol, one.step)),
            "minVol": num(self.vol(symbol, one.step)),
            "maxVol": num(self.vol(symbol, min(one.max_quantity, one.max_market_quantity))),
            "bidLimitPriceRate": num(one.band),
            "askLimitPriceRate": num(one.band),
            "takerFeeRate": num(fees.taker),
            "makerFeeRate": num(fees.maker),
            "maintenanceMarginRate": num(first.rate),
            "initialMarginRate": 1 / first.leverage,
            "riskBaseVol": 0,
            "riskIncrVol": 0,
            "riskIncrMmr": 0,
            "riskIncrImr": 0,
            "riskLevelLimit": len(one.brackets),
            "priceCoefficientVariation": 0.1,
            "indexOrigin": ["BINANCE", "MEXC"],
            "state": 0 if one.status == "TRADING" else 4 if one.status == "PENDING_TRADING" else 3,
            "isNew": False,
            "isHot": False,
            "isHidden": False,
            "riskLimitType": "BY_VOLUME",
            "riskLimitMode": "CUSTOM",
            "riskLimitCustom": self.tiers(one),
            "maxNumOrders": [one.max_open_orders, 50],
            "marketOrderMaxLevel": 20,
            "marketOrderPriceLimitRate1": num(one.band),
            "marketOrderPriceLimitRate2": 0.005,
            "liquidationFeeRate": num(one.liquidation_fee),
            "apiAllowed": symbol not in self.barred,
            "limitMaxVol": num(self.vol(symbol, one.max_quantity)),
        }

    def tiers(self, one: Instrument) -> list[View]:
        """The margin table, whose contracts were fixed at the price that there was then."""
        mark, fixed = self.exchange.books[one.symbol].mark, self._fixed[one.symbol]
        if not fixed / 3 < mark < fixed * 3:  # the contract has become another one
            fixed = self._fixed[one.symbol] = mark
        return [
            {
                "level": level,
                "maxVol": int(self.vol(one.symbol, tier.cap / fixed).to_integral_value(ROUND_FLOOR)),
                "mmr": num(tier.rate),
                "imr": 1 / tier.leverage,
                "maxLeverage": tier.leverage,
            }
            for level, tier in enumerate(one.brackets, 1)
        ]

    def ticker(self, symbol: str, now_ms: int) -> View:
        """Prices, funding and an invented turnover that fits the mean price of the day."""
        one, book = self.exchange.instruments[symbol], self.exchange.books[symbol]
        day, index = self.exchange.candles.over(symbol, _DAY_MS, now_ms), self.exchange.index_price(symbol)
        last = book.mark.quantize(one.tick)
        volume = (self.vol(symbol, one.day_turnover / book.mark)).to_integral_value()
        return {
            "symbol": self.names[symbol],
            "lastPrice": num(last),
            "bid1": num(book.best_bid[0]),
            "ask1": num(book.best_ask[0]),
            "volume24": int(volume),
            "amount24": float(one.day_turnover),
            "holdVol": num(self.open_interest(symbol)),
            "lower24Price": num(day.low),
            "high24Price": num(day.high),
            "riseFallRate": float(day.close / day.open - 1),
            "riseFallValue": num(day.close - day.open),
            "indexPrice": num(index),
            "fairPrice": num(book.mark),
            "fundingRate": float(self.exchange.funding_rate(symbol)),
            "maxBidPrice": float(index * (1 + one.band)),
            "minAskPrice": float(index * (1 - one.band)),
            "timestamp": now_ms,
        }

    def open_interest(self, symbol: str) -> Decimal:
        """The contracts that are held by anybody."""
        accounts = self.exchange.accounts.values()
        return self.vol(
            symbol, sum((abs(one.quantity) for each in accounts for one in each.held() if one.symbol == symbol), ZERO)
        )

    def funding(self, symbol: str, now_ms: int) -> View:
        """The rate of the next settlement."""
        one = self.exchange.instruments[symbol]
        return {
            "symbol": self.names[symbol],
            "fundingRate": float(self.exchange.funding_rate(symbol)),
            "maxFundingRate": num(one.funding_cap),
            "minFundingRate": num(-one.funding_cap),
            "collectCycle": one.funding_hours,
            "nextSettleTime": self.exchange.next_funding_ms(symbol),
            "timestamp": now_ms,
        }

    def settled(self, symbol: str, row: FundingRow) -> View:
        """A settlement that has been."""
        return {"symbol": self.names[symbol], "fundingRate": float(row.rate), "settleTime": row.at_ms}

    def levels(self, symbol: str, levels: Sequence[Level]) -> list[list[int | float]]:
        """Levels of a book: price, contracts, and how many orders."""
        return [[num(price), num(self.vol(symbol, size)), 1] for price, size in levels]
