"""The answers of Binance USDⓈ-M's REST endpoints as plain dictionaries.

Money has eight decimals, prices and quantities those of their grid. All of it is exact decimal
text, never a formatted float.
"""

from decimal import Decimal
from typing import Any

from adapters.simulator.account import Account, Position
from adapters.simulator.arithmetic import money, on_grid, plain
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.margin import maintenance_margin
from adapters.simulator.orders import ZERO, Fill, FundingRow, Income, Order

View = dict[str, Any]

SIDES = {1: "BUY", -1: "SELL"}
FOREVER_MS = 4_133_404_800_000
LISTED_MS = 1_567_965_300_000


def symbol_view(one: Instrument) -> View:
    """One row of exchangeInfo. A coin-margined contract has a size, and another name for its status."""
    if one.inverse:
        kind: View = {"contractStatus": one.status, "contractSize": int(one.contract), "equalQtyPrecision": 4}
    else:
        kind = {"status": one.status}
    return {
        "symbol": one.symbol,
        "pair": one.pair,
        "contractType": "PERPETUAL",
        "deliveryDate": FOREVER_MS,
        "onboardDate": LISTED_MS,
        **kind,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": one.base,
        "quoteAsset": one.quote,
        "marginAsset": one.asset,
        "pricePrecision": one.price_decimals + 1,
        "quantityPrecision": one.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["Crypto"],
        "triggerProtect": "0.0500",
        "liquidationFee": f"{one.liquidation_fee:.6f}",
        "marketTakeBound": plain(one.band),
        "maxMoveOrderLimit": 10000,
        "filters": _filters(one),
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "DCA", "PSB"],
    }


def _filters(one: Instrument) -> list[View]:
    least = [] if one.inverse else [{"filterType": "MIN_NOTIONAL", "notional": plain(one.min_notional)}]
    tick, step = plain(one.tick), plain(one.step)
    if "." in tick:
        tick = on_grid(one.tick, one.price_decimals + 1)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": plain(one.tick),
            "maxPrice": plain(one.tick * 10_000_000_000),
            "tickSize": tick,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": step,
            "maxQty": plain(one.max_quantity),
            "stepSize": step,
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": step,
            "maxQty": plain(one.max_market_quantity),
            "stepSize": step,
        },
        {"filterType": "MAX_NUM_ORDERS", "limit": one.max_open_orders},
        *least,
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": f"{1 + one.band:.4f}",
            "multiplierDown": f"{1 - one.band:.4f}",
            "multiplierDecimal": "4",
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def bracket_view(one: Instrument) -> View:
    """The margin tiers of a symbol; those in a coin have other names for their ends, one of them misspelt."""
    cap, floor = ("qtyCap", "qtylFloor") if one.inverse else ("notionalCap", "notionalFloor")
    return {
        "symbol": one.symbol,
        "brackets": [
            {
                "bracket": number,
                "initialLeverage": tier.leverage,
                cap: int(tier.cap),
                floor: int(tier.floor),
                "maintMarginRatio": float(tier.rate),
                "cum": float(tier.cum),
            }
            for number, tier in enumerate(one.brackets, start=1)
        ],
    }


def premium_view(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """Mark, index and funding estimate of a symbol."""
    mark, one = exchange.books[symbol].mark, exchange.instruments[symbol]
    return {
        "symbol": symbol,
        **({"pair": one.pair} if one.inverse else {}),
        "markPrice": money(mark),
        "indexPrice": money(exchange.index_price(symbol)),
        "estimatedSettlePrice": money(mark),
        "lastFundingRate": money(exchange.funding_rate(symbol)),
        "interestRate": "0.00010000",
        "nextFundingTime": exchange.next_funding_ms(symbol),
        "time": now_ms,
    }


def funding_view(one: Instrument, row: FundingRow) -> View:
    """A settled funding rate; that of a coin-margined contract says no more."""
    view = {"symbol": one.symbol, "fundingTime": row.at_ms, "fundingRate": money(row.rate)}
    return view if one.inverse else {**view, "markPrice": money(row.mark), "rateType": "Regular"}


def funding_info_view(one: Instrument) -> View:
    """Interval and caps of a symbol's funding."""
    return {
        "symbol": one.symbol,
        "adjustedFundingRateCap": money(one.funding_cap),
        "adjustedFundingRateFloor": money(-one.funding_cap),
        "fundingIntervalHours": one.funding_hours,
        "disclaimer": False,
        "updateTime": LISTED_MS,
    }


def order_reply(order: Order, one: Instrument) -> View:
    """What placing, amending and cancelling answer: no average price, no quote total."""
    pair = {"pair": one.pair} if one.inverse else {}
    return {
        **pair,
        "clientOrderId": order.client_id,
        "cumQty": on_grid(order.executed, one.quantity_decimals),
        "executedQty": on_grid(order.executed, one.quantity_decimals),
        "orderId": order.id,
        "origQty": on_grid(order.quantity, one.quantity_decimals),
        "price": on_grid(order.price, one.price_decimals + 1) if order.price else "0",
        "reduceOnly": order.reduce_only,
        "side": SIDES[order.side],
        "positionSide": order.position_side,
        "status": order.status,
        "stopPrice": "0",
        "closePosition": False,
        "symbol": order.symbol,
        "timeInForce": order.time_in_force,
        "type": order.kind,
        "origType": order.kind,
        "updateTime": order.updated_ms,
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.self_trade,
        "goodTillDate": order.good_till_ms,
    }


def order_view(order: Order, one: Instrument) -> View:
    """What reading an order answers."""
    view = order_reply(order, one)
    del view["cumQty"]
    view["avgPrice"] = on_grid(order.average_price, one.price_decimals + 4)
    if one.inverse:
        view["cumBase"] = money(order.quote)
    else:
        view["cumQuote"] = on_grid(order.quote, one.price_decimals + one.quantity_decimals)
    view["time"] = order.created_ms
    return view


def trade_view(fill: Fill, one: Instrument) -> View:
    """One row of userTrades."""
    quantity = on_grid(fill.quantity, one.quantity_decimals)
    return {
        "buyer": fill.side > 0,
        "commission": money(fill.fee),
        "commissionAsset": one.asset,
        "id": fill.id,
        "maker": fill.maker,
        "orderId": fill.order_id,
        "price": on_grid(fill.price, one.price_decimals + 1),
        "qty": quantity,
        "quoteQty": plain(one.value(fill.quantity, fill.price)),
        "baseQty": money(one.notional(fill.quantity, fill.price)) if one.inverse else quantity,
        "marginAsset": one.asset,
        "realizedPnl": money(fill.realised),
        "side": SIDES[fill.side],
        "positionSide": fill.position_side,
        "symbol": fill.symbol,
        "pair": one.pair,
        "time": fill.at_ms,
    }


def income_view(row: Income, asset: str) -> View:
    """One row of the income history."""
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": money(row.amount),
        "asset": asset,
        "time": row.at_ms,
        "info": row.kind,
        "tranId": row.id,
        "tradeId": str(row.trade_id or ""),
    }


class AccountViews:
    """One account in the shapes of the account, balance and position endpoints."""

    def __init__(self, exchange: Exchange, account: Account) -> None:
        self._exchange = exchange
        self._account = account
        self._marks = exchange.matcher.mark

    def totals(self) -> dict[str, Decimal]:
        """The sums all views are made of, under the names of the asset row."""
        account = self._account
        unrealised = account.unrealised(self._marks)
        positions, orders = account.total_initial_margin(self._marks)
        equity = account.wallet + unrealised
        available = account.available(self._marks)
        return {
            "walletBalance": account.wallet,
            "unrealizedProfit": unrealised,
            "marginBalance": equity,
            "maintMargin": account.maintenance(self._marks, self._exchange.instruments.__getitem__),
            "initialMargin": positions + orders,
            "positionInitialMargin": positions,
            "openOrderInitialMargin": orders,
            "crossWalletBalance": account.cross_wallet,
            "crossUnPnl": account.cross_unrealised(self._marks),
            "availableBalance": available,
            "maxWithdrawAmount": max(ZERO, min(available, account.cross_wallet)),
        }

    def account(self, *, every_symbol: bool) -> View:
        """The account endpoint: version 2 lists every symbol, version 3 those in use."""
        sums, pledged = self.totals(), self._account.pledged
        text = {name: money(value) for name, value in sums.items()}
        view: View = {
            "totalInitialMargin": text["initialMargin"],
            "totalMaintMargin": text["maintMargin"],
            "totalWalletBalance": money(sums["walletBalance"] + pledged),
            "totalUnrealizedProfit": text["unrealizedProfit"],
            "totalMarginBalance": money(sums["marginBalance"] + pledged),
            "totalPositionInitialMargin": text["positionInitialMargin"],
            "totalOpenOrderInitialMargin": text["openOrderInitialMargin"],
            "totalCrossWalletBalance": money(sums["crossWalletBalance"] + pledged),
            "totalCrossUnPnl": text["crossUnPnl"],
            "availableBalance": text["availableBalance"],
            "maxWithdrawAmount": text["maxWithdrawAmount"],
        }
        asset: View = {"asset": self._account.asset, **text}
        if every_symbol:
            asset["marginAvailable"] = True
            view = {**self._flags(), **view}
        asset["updateTime"] = self._account.updated_ms
        view["assets"] = [asset, *self._collateral(asset)]
        view["positions"] = [
            self._account_position(position, every_symbol=every_symbol) for position in self._positions(every_symbol)
        ]
        return view

    def _collateral(self, asset: View) -> list[View]:
        """A row for each other asset, in the shape of the account's own; its amount is what it is worth."""
        none = {name: "0.00000000" for name, value in asset.items() if isinstance(value, str)}
        return [
            {**asset, **none, "asset": name, **dict.fromkeys(("walletBalance", "marginBalance"), money(worth))}
            for name, worth in self._account.collateral.items()
        ]

    def _flags(self) -> View:
        return {
            "feeTier": 0,
            "feeBurn": False,
            "canTrade": self._account.barred is None,
            "canDeposit": True,
            "canWithdraw": True,
            "updateTime": 0,
            "multiAssetsMargin": bool(self._account.collateral),
            "tradeGroupId": -1,
        }

    def balances(self) -> list[View]:
        """The balance endpoint."""
        sums = self.totals()
        return [
            {
                "accountAlias": self._account.alias,
                "asset": self._account.asset,
                "balance": money(sums["walletBalance"]),
                "crossWalletBalance": money(sums["crossWalletBalance"]),
                "crossUnPnl": money(sums["crossUnPnl"]),
                "availableBalance": money(sums["availableBalance"]),
                "maxWithdrawAmount": money(sums["maxWithdrawAmount"]),
                "marginAvailable": True,
                "updateTime": self._account.updated_ms,
            }
        ]

    def risks(self, symbol: str | None, *, every_symbol: bool) -> list[View]:
        """The position endpoint: version 2 lists every symbol, version 3 those in use."""
        return [
            self._risk_2(position) if every_symbol else self._risk_3(position)
            for position in self._positions(every_symbol)
            if symbol is None or position.symbol == symbol
        ]

    def _positions(self, every_symbol: bool) -> list[Position]:
        account = self._account
        if every_symbol:
            sides = ("BOTH", "LONG", "SHORT") if account.hedge else ("BOTH",)
            return [account.position(s, side) for s in self._exchange.books for side in sides]
        return [account.position(symbol, side) for symbol, side in account.symbols_in_use()]

    def _numbers(self, position: Position) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Mark, signed notional, initial margin of the position and of its orders."""
        mark = self._marks(position.symbol)
        own, orders = self._account.initial_margin(position.symbol, position.side, mark)
        return mark, self._notional(position), own, orders

    def _notional(self, position: Position) -> Decimal:
        one = self._exchange.instruments[position.symbol]
        return one.notional(position.quantity, self._marks(position.symbol))

    def _maintenance(self, position: Position, notional: Decimal) -> Decimal:
        return maintenance_margin(self._exchange.instruments[position.symbol], abs(notional))

    def _account_position(self, position: Position, *, every_symbol: bool) -> View:
        one = self._exchange.instruments[position.symbol]
        mark, notional, own, orders = self._numbers(position)
        view: View = {
            "symbol": position.symbol,
            "positionSide": position.side,
            "positionAmt": on_grid(position.quantity, one.quantity_decimals),
            "unrealizedProfit": money(position.unrealised(mark)),
            "initialMargin": money(own + orders),
            "maintMargin": money(self._maintenance(position, notional)),
        }
        if not every_symbol:
            view["isolatedMargin"], view["isolatedWallet"] = self._isolated(position)
            view["notional"] = money(notional)
            view["updateTime"] = position.updated_ms
            return view
        bids, asks = self._account.order_notionals(position.symbol, position.side)
        leverage = self._account.leverage(position.symbol)
        view["positionInitialMargin"] = money(own)
        view["openOrderInitialMargin"] = money(orders)
        view["leverage"] = str(leverage)
        view["isolated"] = self._account.is_isolated(position.symbol)
        view["entryPrice"] = self._entry(position)
        view["maxNotional"] = plain(one.largest_notional(leverage))
        view["bidNotional"] = plain(bids)
        view["askNotional"] = plain(asks)
        view["updateTime"] = position.updated_ms
        return view

    def _isolated(self, position: Position) -> tuple[str, str]:
        """What an isolated position is worth, and its wallet."""
        if not self._account.is_isolated(position.symbol) or not position.quantity:
            return "0", "0"
        worth = position.wallet + position.unrealised(self._marks(position.symbol))
        return money(worth), money(position.wallet)

    def _entry(self, position: Position) -> str:
        return plain(position.entry.quantize(Decimal("1e-8"))) if position.quantity else "0.0"

    def _break_even(self, position: Position) -> str:
        side = (position.quantity > 0) - (position.quantity < 0)
        return plain((position.entry * (1 + side * self._exchange.fees.taker)).quantize(Decimal("1e-8")))

    def _liquidation_price(self, position: Position) -> str:
        """The mark at which this position, all others standing still, ends the account, or itself."""
        price = self._exchange.liquidation_price(self._account, position)
        return "0" if price is None else money(price)

    def _risk_3(self, position: Position) -> View:
        one = self._exchange.instruments[position.symbol]
        mark, notional, own, orders = self._numbers(position)
        bids, asks = self._account.order_notionals(position.symbol, position.side)
        isolated_margin, isolated_wallet = self._isolated(position)
        return {
            "symbol": position.symbol,
            "positionSide": position.side,
            "positionAmt": on_grid(position.quantity, one.quantity_decimals),
            "entryPrice": self._entry(position),
            "breakEvenPrice": self._break_even(position),
            "markPrice": money(mark),
            "unRealizedProfit": money(position.unrealised(mark)),
            "liquidationPrice": self._liquidation_price(position),
            "isolatedMargin": isolated_margin,
            "notional": money(notional),
            "marginAsset": one.asset,
            "isolatedWallet": isolated_wallet,
            "initialMargin": money(own + orders),
            "maintMargin": money(self._maintenance(position, notional)),
            "positionInitialMargin": money(own),
            "openOrderInitialMargin": money(orders),
            "adl": 1 if position.quantity else 0,
            "bidNotional": plain(bids),
            "askNotional": plain(asks),
            "updateTime": position.updated_ms,
        }

    def _risk_2(self, position: Position) -> View:
        one = self._exchange.instruments[position.symbol]
        mark = self._marks(position.symbol)
        leverage = self._account.leverage(position.symbol)
        isolated_margin, isolated_wallet = self._isolated(position)
        return {
            "symbol": position.symbol,
            "positionAmt": on_grid(position.quantity, one.quantity_decimals),
            "entryPrice": self._entry(position),
            "breakEvenPrice": self._break_even(position),
            "markPrice": money(mark),
            "unRealizedProfit": money(position.unrealised(mark)),
            "liquidationPrice": self._liquidation_price(position),
            "leverage": str(leverage),
            "maxNotionalValue": plain(one.largest_notional(leverage)),
            "marginType": "isolated" if self._account.is_isolated(position.symbol) else "cross",
            "isolatedMargin": isolated_margin,
            "isAutoAddMargin": "false",
            "positionSide": position.side,
            "notional": money(self._notional(position)),
            "isolatedWallet": isolated_wallet,
            "updateTime": position.updated_ms,
        }
