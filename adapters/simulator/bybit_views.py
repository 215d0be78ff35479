"""What Bybit v5 says of instruments, orders, trades, positions and wallets, as plain dictionaries of text.

Answers and streams say the same of a thing but for a few names.
"""

from collections.abc import Callable
from decimal import Decimal

from adapters.simulator.account import Account, Position
from adapters.simulator.arithmetic import plain
from adapters.simulator.bybit_call import View, category_of
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.margin import liquidation_price, maintenance_margin
from adapters.simulator.orders import ZERO, Expiry, Fill, Order

Spell = Callable[[Instrument], str]

SIDES = {1: "Buy", -1: "Sell"}
ROWS = {"BOTH": 0, "LONG": 1, "SHORT": 2}
LISTED_MS = 1_585_526_400_000

_STATUSES = {
    "NEW": "New",
    "PARTIALLY_FILLED": "PartiallyFilled",
    "FILLED": "Filled",
    "CANCELED": "Cancelled",
    "EXPIRED": "Cancelled",
    "REJECTED": "Rejected",
}
_TRADING = {"TRADING": "Trading", "PENDING_TRADING": "PendingOpen", "SETTLING": "Delivering", "CLOSE": "Closed"}
_IN_FORCE = {"GTX": "PostOnly"}
_FORCED = {
    "autoclose-": ("CreateByLiq", "BustTrade"),
    "adl_autoclose": ("CreateByAdl_PassThrough", "AdlTrade"),
    "settlement_autoclose-": ("CreateBySettle", "Delivery"),
}
"""How the exchange names the orders it makes itself: how the venue says they were made, and what their trades are."""


def money(value: Decimal) -> str:
    """An amount with at most eight decimals."""
    return plain(value.quantize(Decimal("1e-8")))


def name_of(number: int, kind: int = 0) -> str:
    """A number of the exchange's in the shape of the venue's ids; `kind` keeps those of different things apart."""
    text = f"{kind:04x}{number:028x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def number_of(name: str) -> int:
    """The number in a `name_of`; -1 where there is none."""
    digits = name.replace("-", "")
    try:
        return int(digits[4:], 16) if len(digits) == 32 and digits.startswith("0000") else -1
    except ValueError:
        return -1


def contract_row(one: Instrument, spell: Spell) -> View:
    """One row of instruments-info."""
    return {
        "symbol": spell(one),
        "contractType": f"{category_of(one).capitalize()}Perpetual",
        "status": _TRADING.get(one.status, "Closed"),
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "launchTime": str(LISTED_MS),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(one.price_decimals),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": f"{one.brackets[0].leverage}.00",
            "leverageStep": "0.01",
        },
        "priceFilter": {"minPrice": plain(one.tick), "maxPrice": "1999999.80", "tickSize": plain(one.tick)},
        "lotSizeFilter": {
            "maxOrderQty": plain(one.max_quantity),
            "minOrderQty": plain(one.step),
            "qtyStep": plain(one.step),
            "postOnlyMaxOrderQty": plain(one.max_quantity),
            "maxMktOrderQty": plain(one.max_market_quantity),
            "minNotionalValue": plain(one.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": one.funding_hours * 60,
        "settleCoin": one.asset,
        "copyTrading": "none",
        "upperFundingRate": plain(one.funding_cap),
        "lowerFundingRate": plain(-one.funding_cap),
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": plain(one.band), "priceLimitRatioY": plain(one.band * 2)},
        "symbolType": "",
    }


def risk_rows(one: Instrument, spell: Spell) -> list[View]:
    """The margin tiers of an instrument, not in order, and without the first deduction, as the venue has them."""
    rows = [
        {
            "id": number,
            "symbol": spell(one),
            "riskLimitValue": plain(tier.cap),
            "maintenanceMargin": plain(tier.rate),
            "initialMargin": plain((Decimal(1) / tier.leverage).quantize(Decimal("0.0001"))),
            "isLowestRisk": int(number == 1),
            "maxLeverage": f"{tier.leverage}.00",
            "mmDeduction": plain(tier.cum) if tier.cum else "",
        }
        for number, tier in enumerate(one.brackets, 1)
    ]
    return [*rows[1:2], *rows[:1], *rows[2:]]


def ticker_row(exchange: Exchange, one: Instrument, spell: Spell) -> View:
    """What the ticker of an instrument says now; the last price is the mark on the price grid."""
    book, day = exchange.books[one.symbol], exchange.candles.over(one.symbol, 86_400_000, exchange.now_ms)
    last = book.mark.quantize(one.tick)
    coins = (one.day_turnover / book.mark).quantize(Decimal("1e-8"))
    turnover, volume = (coins, one.day_turnover) if one.inverse else (one.day_turnover, coins.quantize(one.step))
    held = sum(
        (abs(held.quantity) for account in exchange.accounts.values() for held in account.held()
         if held.symbol == one.symbol), ZERO,
    )  # fmt: skip
    return {
        "symbol": spell(one),
        "tickDirection": "PlusTick",
        "price24hPcnt": f"{(day.close - day.open) / day.open:.6f}",
        "lastPrice": plain(last),
        "prevPrice24h": plain(day.open.quantize(one.tick)),
        "highPrice24h": plain(day.high.quantize(one.tick)),
        "lowPrice24h": plain(day.low.quantize(one.tick)),
        "prevPrice1h": plain(last),
        "markPrice": money(book.mark),
        "indexPrice": money(exchange.index_price(one.symbol)),
        "openInterest": plain(held),
        "openInterestValue": money(one.notional(held, book.mark)),
        "turnover24h": plain(turnover),
        "volume24h": plain(volume),
        "fundingIntervalHour": str(one.funding_hours),
        "fundingCap": plain(one.funding_cap),
        "nextFundingTime": str(exchange.next_funding_ms(one.symbol)),
        "fundingRate": money(exchange.funding_rate(one.symbol)),
        "bid1Price": plain(book.best_bid[0]),
        "bid1Size": plain(book.best_bid[1]),
        "ask1Price": plain(book.best_ask[0]),
        "ask1Size": plain(book.best_ask[1]),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def forced(order: Order) -> tuple[str, str] | None:
    """How an order was created and what its trades are, if the exchange made it itself."""
    return next((words for prefix, words in _FORCED.items() if order.client_id.startswith(prefix)), None)


def end_words(order: Order) -> tuple[str, str]:
    """Why an order was cancelled, and why it was rejected, in the venue's words."""
    if order.status == "CANCELED":
        return "CancelByUser", "EC_PerCancelRequest"
    if order.status != "EXPIRED":
        return "UNKNOWN", "EC_NoError"
    cancels = {
        Expiry.REDUCE_ONLY: "CancelByReduceOnly",
        Expiry.LIQUIDATED: "CancelAllBeforeLiq",
        Expiry.DELISTED: "CancelBySettle",
    }
    if order.expiry in cancels:
        return cancels[order.expiry], "EC_NoError"
    if order.time_in_force == "GTX":
        return "UNKNOWN", "EC_PostOnlyWillTakeLiquidity"
    return "UNKNOWN", "EC_NoEnoughQtyToFill" if order.time_in_force == "FOK" else "EC_NoImmediateQtyToFill"


def order_row(order: Order, one: Instrument, spell: Spell, name: str, link: str, rejected: str = "") -> View:
    """An order; `rejected` is why it was not taken after all."""
    cancel, reason = end_words(order)
    made = forced(order)
    return {
        "category": category_of(one),
        "symbol": spell(one),
        "orderId": name,
        "orderLinkId": "" if made else link,
        "blockTradeId": "",
        "side": SIDES[order.side],
        "positionIdx": ROWS[order.position_side],
        "orderStatus": _STATUSES[order.status],
        "cancelType": cancel,
        "rejectReason": rejected or reason,
        "timeInForce": _IN_FORCE.get(order.time_in_force, order.time_in_force) if order.kind == "LIMIT" else "IOC",
        "isLeverage": "",
        "price": plain(order.price),
        "qty": plain(order.quantity),
        "avgPrice": plain(order.average_price.quantize(one.tick)) if order.executed else "",
        "leavesQty": plain(order.left) if order.is_open else "0",
        "leavesValue": money(one.notional(order.left, order.price)) if order.is_open and order.price else "0",
        "cumExecQty": plain(order.executed),
        "cumExecValue": money(order.quote),
        "cumExecFee": "0",
        "closedPnl": "0",
        "orderType": "Market" if order.kind == "MARKET" else "Limit",
        "stopOrderType": "",
        "orderIv": "",
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "triggerDirection": 0,
        "triggerBy": "",
        "lastPriceOnCreated": "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": False,
        "placeType": "",
        "smpType": "CancelMaker",
        "smpGroup": 0,
        "smpOrderId": "",
        "createType": made[0] if made else "CreateByUser",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }


def execution_row(fill: Fill, order: Order, one: Instrument, spell: Spell, name: str, link: str, mark: Decimal) -> View:
    """A trade."""
    made = forced(order)
    return {
        "category": category_of(one),
        "symbol": spell(one),
        "orderId": name,
        "orderLinkId": "" if made else link,
        "side": SIDES[fill.side],
        "orderPrice": plain(order.price),
        "orderQty": plain(order.quantity),
        "leavesQty": plain(order.left) if order.is_open else "0",
        "createType": made[0] if made else "CreateByUser",
        "orderType": "Market" if order.kind == "MARKET" else "Limit",
        "stopOrderType": "UNKNOWN",
        "execFee": plain(fill.fee),
        "execId": name_of(fill.id, 1),
        "execPrice": plain(fill.price),
        "execQty": plain(fill.quantity),
        "execType": made[1] if made else "Trade",
        "execValue": money(one.notional(fill.quantity, fill.price)),
        "execTime": str(fill.at_ms),
        "feeCurrency": "",
        "feeCoin": one.asset,
        "isMaker": fill.maker,
        "feeRate": plain((fill.fee / one.notional(fill.quantity, fill.price)).quantize(Decimal("1e-6"))),
        "markPrice": money(mark),
        "indexPrice": "",
        "closedSize": plain(fill.quantity) if fill.realised else "0",
        "execPnl": plain(fill.realised),
        "extraFees": [],
        "seq": fill.id,
        "blockTradeId": "",
        "isLeverage": "0",
        "marketUnit": "",
    }


class AccountView:
    """An account as the venue shows it. Margins are by mark and hold the fee of closing; totals are in USD, by the
    mark of its coin where it is held in one."""

    def __init__(self, exchange: Exchange, account: Account, spell: Spell, sequences: dict[tuple[str, str, str], int]):
        self._exchange = exchange
        self._account = account
        self._spell = spell
        self._sequences = sequences

    def _margins(self, position: Position) -> tuple[Decimal, Decimal]:
        """Initial and maintenance margin of a position, both with the fee of closing it where it would be bankrupt."""
        one, mark = self._exchange.instruments[position.symbol], self._exchange.books[position.symbol].mark
        leverage = self._account.leverage(position.symbol)
        size = abs(position.quantity)
        side = 1 if position.quantity > 0 else -1
        if one.inverse:  # what is lost at the price of bankruptcy is worth more coins the lower that is
            side = -side
        closing = one.notional(size, position.entry) * (1 - Decimal(side) / leverage) * self._exchange.fees.taker
        notional = one.notional(size, mark)
        return notional / leverage + closing, maintenance_margin(one, notional) + closing

    def position(self, position: Position, *, streamed: bool = False) -> View:
        """One row of a position."""
        one, mark = self._exchange.instruments[position.symbol], self._exchange.books[position.symbol].mark
        held = position.quantity
        initial, maintenance = self._margins(position) if held else (ZERO, ZERO)
        entry = money(position.entry)
        liquidation = self._liquidation(position) if held else None
        key = (self._account.api_key, position.symbol, position.side)
        row = {
            "positionIdx": ROWS[position.side],
            "riskId": 1,
            "riskLimitValue": plain(one.largest_notional(self._account.leverage(position.symbol))),
            "symbol": self._spell(one),
            "side": SIDES[1 if held > 0 else -1] if held else "",
            "size": plain(abs(held)),
            "entryPrice" if streamed else "avgPrice": entry if held else "0",
            "sessionAvgPrice": "",
            "positionValue": money(one.notional(abs(held), position.entry)) if held else "",
            "tradeMode": 0,
            "positionStatus": "Normal",
            "autoAddMargin": 0,
            "adlRankIndicator": 2 if held else 0,
            "leverage": str(self._account.leverage(position.symbol)),
            "positionBalance": "0",
            "markPrice": money(mark),
            "liqPrice": "" if liquidation is None else money(liquidation),
            "bustPrice": "",
            "breakEvenPrice": entry if held else "",
            "positionIM": money(initial),
            "positionIMByMp": money(initial),
            "positionMM": money(maintenance),
            "positionMMByMp": money(maintenance),
            "takeProfit": "",
            "stopLoss": "",
            "trailingStop": "0",
            "unrealisedPnl": money(position.unrealised(mark)),
            "curRealisedPnl": money(position.realised),
            "cumRealisedPnl": money(position.realised),
            "seq": self._sequences.get(key, -1),
            "isReduceOnly": False,
            "mmrSysUpdatedTime": "",
            "leverageSysUpdatedTime": "",
            "createdTime": str(LISTED_MS),
            "updatedTime": str(position.updated_ms),
        }
        return {"category": category_of(one), **row} if streamed else row

    def _liquidation(self, position: Position) -> Decimal | None:
        """The mark at which this position, all others standing still, ends the account."""
        exchange, account = self._exchange, self._account
        collateral = account.cross_wallet
        for other in account.shared():
            if other is not position:
                collateral += other.unrealised(exchange.books[other.symbol].mark) - self._margins(other)[1]
        one = exchange.instruments[position.symbol]
        return liquidation_price(one, position.quantity, position.entry, collateral)

    def positions(self, symbol: str | None = None) -> list[View]:
        """Rows of all positions; of one symbol those that are flat as well."""
        account = self._account
        if symbol is None:
            return [self.position(held) for held in account.held()]
        sides = ("LONG", "SHORT") if account.hedge else ("BOTH",)
        return [self.position(account.position(symbol, side)) for side in sides]

    def wallet(self) -> View:
        """The account and its one coin."""
        account, mark = self._account, self._exchange.matcher.mark
        margins = [self._margins(held) for held in account.held()]
        of_positions = sum((initial for initial, _ in margins), ZERO)
        maintenance = sum((own for _, own in margins), ZERO)
        of_orders = account.total_initial_margin(mark)[1]
        unrealised = account.unrealised(mark)
        wallet = account.wallet + account.pledged
        equity = wallet + unrealised
        needed = of_positions + of_orders
        rates = [
            plain((part / equity).quantize(Decimal("1e-4"))) if equity > 0 else "0" for part in (needed, maintenance)
        ]
        dollars = self._dollars()
        totals = {
            "totalEquity": equity,
            "totalWalletBalance": wallet,
            "totalMarginBalance": equity,
            "totalAvailableBalance": max(ZERO, equity - needed),
            "totalPerpUPL": unrealised,
            "totalInitialMargin": needed,
            "totalInitialMarginByMp": needed,
            "totalMaintenanceMargin": maintenance,
            "totalMaintenanceMarginByMp": maintenance,
        }
        return {
            "accountType": "UNIFIED",
            "accountLTV": "0",
            "accountIMRate": rates[0],
            "accountIMRateByMp": rates[0],
            "accountMMRate": rates[1],
            "accountMMRateByMp": rates[1],
            **{name: money(value * dollars) for name, value in totals.items()},
            "coin": [
                self._coin(account.asset, account.wallet, unrealised, of_positions, of_orders, maintenance),
                *(self._coin(name, worth, ZERO, ZERO, ZERO, ZERO) for name, worth in account.collateral.items()),
            ],
        }

    def _dollars(self) -> Decimal:
        """What one unit of the account's asset is worth in USD."""
        instruments = self._exchange.instruments.values()
        mine = next((one for one in instruments if one.inverse and one.asset == self._account.asset), None)
        return self._exchange.books[mine.symbol].mark if mine else Decimal(1)

    def _coin(
        self, name: str, wallet: Decimal, unrealised: Decimal, own: Decimal, orders: Decimal, maintenance: Decimal
    ) -> View:
        return {
            "coin": name,
            "equity": money(wallet + unrealised),
            "usdValue": money((wallet + unrealised) * self._dollars()),
            "walletBalance": money(wallet),
            "availableToWithdraw": "",
            "availableToBorrow": "",
            "borrowAmount": "0",
            "spotBorrow": "0",
            "accruedInterest": "0",
            "totalOrderIM": money(orders),
            "totalPositionIM": money(own),
            "totalPositionMM": money(maintenance),
            "unrealisedPnl": money(unrealised),
            "cumRealisedPnl": "0",
            "bonus": "0",
            "locked": "0",
            "collateralSwitch": True,
            "marginCollateral": True,
            "spotHedgingQty": "0",
        }
