"""The answers and events of BingX's USDT-margined perpetuals as plain dictionaries; numbers are exact decimal text."""

import zlib
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from adapters.simulator.account import Account, Position
from adapters.simulator.arithmetic import money
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.margin import liquidation_price, maintenance_margin
from adapters.simulator.orders import ZERO, Fill, Order, PositionView

View = dict[str, Any]

SIDES = {1: "BUY", -1: "SELL"}
LISTED_MS = 1_586_275_200_000
ID_BASE = 1_735_000_000_000_000_000
"""Ids of orders have so many digits that not every client can count so far."""
NAMELESS = "auto-"
"""How the exchange's own ids begin, for orders whose client gave them none."""
KINDS = {"autoclose-": "LIQUIDATION", "adl_autoclose": "ADL"}
"""Orders by which the venue itself trades: their type, by how their ids begin."""
STATES = {"NEW": "PENDING", "CANCELED": "CANCELLED"}
"""How an order's state is called by REST, where it differs from the stream."""
IN_FORCE = {"GTX": "PostOnly"}
ASSET = "USDT"
_CHINA = timezone(timedelta(hours=8))


def name_of(one: Instrument) -> str:
    """A symbol as this venue writes it."""
    return f"{one.base}-{one.quote}"


def client_of(order: Order) -> str:
    """The id that a client gave an order; empty where none did."""
    return "" if order.client_id.startswith((NAMELESS, *KINDS, "settlement_")) else order.client_id


def contract_view(one: Instrument) -> View:
    """One row of the contracts."""
    open_, closed = ("true", "true") if one.status == "TRADING" else ("false", "false")
    most = one.brackets[0].leverage
    return {
        "contractId": str(100 + sum(one.symbol.encode())),
        "symbol": name_of(one),
        "displayName": name_of(one),
        "size": "1",
        "quantityPrecision": one.quantity_decimals,
        "pricePrecision": one.price_decimals,
        "feeRate": 0.0005,
        "makerFeeRate": 0.0002,
        "takerFeeRate": 0.0005,
        "tradeMinLimit": 0,
        "tradeMinQuantity": float(one.step),
        "tradeMinUSDT": float(one.min_notional),
        "maxLongLeverage": most,
        "maxShortLeverage": most,
        "currency": one.quote,
        "asset": one.base,
        "status": 1 if one.status == "TRADING" else 25,
        "apiStateOpen": open_,
        "apiStateClose": closed,
        "brokerState": "true",
        "launchTime": LISTED_MS,
        "maintainTime": 0,
        "offTime": 0,
    }


def premium_view(exchange: Exchange, symbol: str) -> View:
    """Mark, index and funding of an instrument."""
    one = exchange.instruments[symbol]
    return {
        "symbol": name_of(one),
        "markPrice": f"{exchange.books[symbol].mark:.{one.price_decimals + 2}f}",
        "indexPrice": f"{exchange.index_price(symbol):.{one.price_decimals + 2}f}",
        "lastFundingRate": money(exchange.funding_rate(symbol)),
        "nextFundingTime": exchange.next_funding_ms(symbol),
        "fundingIntervalHours": one.funding_hours,
        "minFundingRate": money(-one.funding_cap),
        "maxFundingRate": money(one.funding_cap),
        "updateTime": exchange.now_ms,
    }


def best_view(exchange: Exchange, symbol: str) -> View:
    """The best bid and ask, as the endpoint for one symbol spells them."""
    book = exchange.books[symbol]
    (bid, bid_size), (ask, ask_size) = book.best_bid, book.best_ask
    return {
        "symbol": name_of(exchange.instruments[symbol]),
        "bid_price": float(bid),
        "bid_qty": float(bid_size),
        "ask_price": float(ask),
        "ask_qty": float(ask_size),
        "lastUpdateId": book.update_id,
        "time": exchange.now_ms,
    }


def ticker_view(exchange: Exchange, symbol: str) -> View:
    """The statistics of a day."""
    one, book = exchange.instruments[symbol], exchange.books[symbol]
    price = f"{book.mark:.{one.price_decimals}f}"
    bid, ask = book.best_bid, book.best_ask
    return {
        "symbol": name_of(one),
        "priceChange": "0",
        "priceChangePercent": "0",
        "lastPrice": price,
        "lastQty": str(one.step),
        "highPrice": price,
        "lowPrice": price,
        "volume": f"{one.day_turnover / book.mark:.{one.quantity_decimals}f}",
        "quoteVolume": f"{one.day_turnover:.2f}",
        "openPrice": price,
        "openTime": exchange.now_ms - 86_400_000,
        "closeTime": exchange.now_ms,
        "askPrice": f"{ask[0]:.{one.price_decimals}f}",
        "askQty": f"{ask[1]:.{one.quantity_decimals}f}",
        "bidPrice": f"{bid[0]:.{one.price_decimals}f}",
        "bidQty": f"{bid[1]:.{one.quantity_decimals}f}",
    }


def levels_view(exchange: Exchange, symbol: str, limit: int) -> tuple[list[list[str]], list[list[str]]]:
    """Bids and asks of the book: bids best first, asks worst first."""
    one, book = exchange.instruments[symbol], exchange.books[symbol]
    sides = [
        [[f"{price:.{one.price_decimals}f}", f"{size:.{one.quantity_decimals}f}"] for price, size in book.levels(side)]
        for side in (1, -1)
    ]
    return sides[0][:limit], sides[1][:limit][::-1]


def tier_views(one: Instrument) -> list[View]:
    """The margin table."""
    return [
        {
            "tier": f"Tier {number}",
            "symbol": name_of(one),
            "minPositionVal": f"{bracket.floor:f}",
            "maxPositionVal": f"{bracket.cap:f}",
            "maintMarginRatio": f"{bracket.rate:.6f}",
            "maintAmount": f"{bracket.cum:.6f}",
        }
        for number, bracket in enumerate(one.brackets, 1)
    ]


def leverage_view(account: Account, one: Instrument) -> View:
    """The leverage settings of an instrument."""
    leverage, most = account.leverage(one.symbol), one.brackets[0].leverage
    return {
        "symbol": name_of(one),
        "longLeverage": leverage,
        "shortLeverage": leverage,
        "maxLongLeverage": most,
        "maxShortLeverage": most,
        "availableLongVol": "0.0000",
        "availableShortVol": "0.0000",
        "availableLongVal": "0.0",
        "availableShortVal": "0.0",
        "maxPositionLongVal": f"{one.largest_notional(leverage):f}",
        "maxPositionShortVal": f"{one.largest_notional(leverage):f}",
    }


def balance_views(exchange: Exchange, account: Account) -> list[View]:
    """The wallets; that of the asset that was never used has empty texts."""
    marks = exchange.matcher.mark
    used = sum((_assigned(exchange, account, held) for held in account.held()), ZERO)
    _, ordered = account.total_initial_margin(marks)
    unrealised = account.unrealised(marks)
    row = {
        "userId": account.alias,
        "asset": account.asset,
        "balance": money(account.wallet),
        "equity": money(account.wallet + unrealised),
        "unrealizedProfit": money(unrealised),
        "realisedProfit": "0",
        "availableMargin": money(account.available(marks)),
        "usedMargin": money(used),
        "freezedMargin": money(ordered),
        "shortUid": account.alias,
    }
    empty = {name: "" for name in row} | {"asset": "USDC", "realisedProfit": "0", "shortUid": account.alias}
    return [row, empty]


def position_view(exchange: Exchange, account: Account, held: Position) -> View:
    """A position: its amount has no sign, and its side is told in one-way mode as well."""
    one, mark = exchange.instruments[held.symbol], exchange.books[held.symbol].mark
    isolated = account.is_isolated(held.symbol)
    leverage = account.leverage(held.symbol)
    initial = _assigned(exchange, account, held)
    unrealised = held.unrealised(mark)
    notional = one.notional(abs(held.quantity), mark)
    kept = maintenance_margin(one, notional)
    equity = initial + unrealised if isolated else account.wallet + account.unrealised(exchange.matcher.mark)
    price = liquidation_price(one, held.quantity, held.entry, _collateral(exchange, account, held))
    return {
        "positionId": str(ID_BASE + _number_of(held)),
        "symbol": name_of(one),
        "currency": one.quote,
        "positionAmt": f"{abs(held.quantity):f}",
        "availableAmt": f"{abs(held.quantity):f}",
        "positionSide": direction(held.side, held.quantity),
        "isolated": isolated,
        "avgPrice": money(held.entry),
        "initialMargin": money(initial),
        "margin": money(initial + unrealised),
        "leverage": leverage,
        "unrealizedProfit": money(unrealised),
        "realisedProfit": money(held.realised),
        "liquidationPrice": float(price or 0),
        "pnlRatio": f"{unrealised / initial if initial else ZERO:.4f}",
        "maxMarginReduction": "0.0000",
        "riskRate": f"{kept / equity if equity > 0 else Decimal(1):.4f}",
        "markPrice": f"{mark:f}",
        "positionValue": money(notional),
        "onlyOnePosition": held.side == "BOTH",
        "updateTime": held.updated_ms,
    }


def _assigned(exchange: Exchange, account: Account, held: Position) -> Decimal:
    """The margin of a position: the wallet of its own, or the initial margin by its entry that the account lends it."""
    if account.is_isolated(held.symbol):
        return held.wallet
    one = exchange.instruments[held.symbol]
    return one.notional(abs(held.quantity), held.entry) / account.leverage(held.symbol)


def _collateral(exchange: Exchange, account: Account, held: Position) -> Decimal:
    """What stands behind a position: its own wallet, or all that the others leave of the account's."""
    if account.is_isolated(held.symbol):
        return held.wallet
    marks = exchange.matcher.mark
    rest = account.cross_wallet
    for other in account.shared():
        if other is not held:
            mark, one = marks(other.symbol), exchange.instruments[other.symbol]
            rest += other.unrealised(mark) - maintenance_margin(one, one.notional(abs(other.quantity), mark))
    return rest


def _number_of(held: Position) -> int:
    """A number that stands for a position, the same each time."""
    return zlib.crc32(f"{held.symbol}{held.side}".encode())


def direction(side: str, quantity: Decimal) -> str:
    """LONG or SHORT, also for the one position of one-way mode."""
    if side != "BOTH":
        return side
    return "SHORT" if quantity < 0 else "LONG"


def order_view(order: Order, one: Instrument) -> View:
    """An order, as asked about, listed or cancelled."""
    digits = one.price_decimals
    return {
        "symbol": name_of(one),
        "orderId": ID_BASE + order.id,
        "side": SIDES[order.side],
        "positionSide": order.position_side,
        "type": order.kind,
        "origQty": f"{order.quantity:f}",
        "price": f"{order.price:.{digits}f}",
        "executedQty": f"{order.executed:f}",
        "avgPrice": f"{order.average_price:.{digits + 2}f}",
        "cumQuote": f"{order.quote:.4f}",
        "stopPrice": "",
        "profit": "0.0000",
        "commission": "0.000000",
        "status": STATES.get(order.status, order.status),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "clientOrderId": client_of(order),
        "leverage": "",
        "reduceOnly": order.reduce_only,
        "timeInForce": IN_FORCE.get(order.time_in_force, order.time_in_force),
        "workingType": "MARK_PRICE",
        "stopGuaranteed": False,
        "triggerOrderId": 0,
    }


def placed_view(order: Order, one: Instrument) -> View:
    """What placing an order is answered with: that it was taken, and no more."""
    return {
        "symbol": name_of(one),
        "orderId": ID_BASE + order.id,
        "orderID": str(ID_BASE + order.id),
        "side": SIDES[order.side],
        "positionSide": order.position_side,
        "type": order.kind,
        "clientOrderId": client_of(order),
        "clientOrderID": client_of(order),
        "workingType": "MARK_PRICE",
    }


def fill_view(fill: Fill, one: Instrument) -> View:
    """One of the fills of an account."""
    return {
        "orderId": str(ID_BASE + fill.order_id),
        "tradeId": str(fill.id),
        "symbol": name_of(one),
        "side": SIDES[fill.side],
        "positionSide": fill.position_side,
        "volume": f"{fill.quantity:f}",
        "qty": f"{fill.quantity:f}",
        "price": f"{fill.price:f}",
        "amount": money(fill.price * fill.quantity),
        "quoteQty": money(fill.price * fill.quantity),
        "commission": money(-fill.fee),
        "commissionAsset": ASSET,
        "currency": ASSET,
        "role": "maker" if fill.maker else "taker",
        "filledTm": _moment(fill.at_ms),
        "filledTime": _moment(fill.at_ms),
    }


def _moment(at_ms: int) -> str:
    """A time of day as the venue writes it: eight hours ahead, under a letter that says otherwise."""
    return f"{datetime.fromtimestamp(at_ms / 1000, _CHINA):%Y-%m-%dT%H:%M:%SZ}"


# Events


def mark_event(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """A mark price; index and funding do not stream."""
    one = exchange.instruments[symbol]
    price = f"{exchange.books[symbol].mark:.{one.price_decimals + 2}f}"
    return {"e": "markPriceUpdate", "E": now_ms, "s": name_of(one), "p": price}


def ticker_event(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """The best bid and ask."""
    one, book = exchange.instruments[symbol], exchange.books[symbol]
    (bid, bid_size), (ask, ask_size) = book.best_bid, book.best_ask
    return {
        "e": "bookTicker",
        "u": book.update_id,
        "E": now_ms,
        "T": book.changed_ms,
        "s": name_of(one),
        "b": f"{bid:.{one.price_decimals}f}",
        "B": f"{bid_size:.{one.quantity_decimals}f}",
        "a": f"{ask:.{one.price_decimals}f}",
        "A": f"{ask_size:.{one.quantity_decimals}f}",
    }


def day_event(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """The statistics of a day, as they stream."""
    row = ticker_view(exchange, symbol)
    return {
        "e": "24hTicker",
        "E": now_ms,
        "s": row["symbol"],
        "p": row["priceChange"],
        "P": row["priceChangePercent"],
        "o": row["openPrice"],
        "h": row["highPrice"],
        "l": row["lowPrice"],
        "c": row["lastPrice"],
        "L": row["lastQty"],
        "v": row["volume"],
        "q": row["quoteVolume"],
        "O": row["openTime"],
        "C": row["closeTime"],
        "A": row["askPrice"],
        "a": row["askQty"],
        "B": row["bidPrice"],
        "b": row["bidQty"],
    }


def order_event(
    order: Order, one: Instrument, execution: str, now_ms: int, fill: Fill | None = None, *, terse: bool = False
) -> View:
    """What happened to an order; where it is `terse`, a trade is told as the new total of its order alone."""
    body: View = {
        "s": name_of(one),
        "c": client_of(order),
        "i": ID_BASE + order.id,
        "S": SIDES[order.side],
        "o": next((kind for begin, kind in KINDS.items() if order.client_id.startswith(begin)), order.kind),
        "q": f"{order.quantity:.8f}",
        "p": f"{order.price:.8f}",
        "sp": "0.00000000",
        "ap": f"{order.average_price:.8f}",
        "x": execution,
        "X": order.status,
        "l": f"{fill.quantity if fill else ZERO:.8f}",
        "L": f"{fill.price if fill else ZERO:.8f}",
        "z": f"{order.executed:.8f}",
        "n": money(-fill.fee) if fill else "0.00000000",
        "N": ASSET,
        "T": fill.at_ms if fill else 0,
        "wt": "MARK_PRICE",
        "ps": order.position_side,
        "rp": money(fill.realised) if fill else "0.00000000",
        "ro": order.reduce_only,
        "sg": "false",
        "ti": 0,
        "td": fill.id if fill else 0,
        "tv": f"{fill.price * fill.quantity if fill else ZERO:.4f}",
    }
    if terse:
        del body["l"], body["L"]
    return {"e": "ORDER_TRADE_UPDATE", "E": now_ms, "T": fill.at_ms if fill else order.updated_ms, "o": body}


def account_event(
    asset: str,
    wallet: Decimal,
    cross_wallet: Decimal,
    change: Decimal,
    reason: str,
    now_ms: int,
    positions: list[tuple[PositionView, Instrument, int]],
) -> View:
    """The wallet, and the positions that have changed, without their sign; each with its instrument and leverage."""
    rows = [
        {
            "s": name_of(one),
            "pa": f"{abs(view.quantity):.8f}",
            "ep": f"{view.entry:.8f}",
            "up": money(view.unrealised),
            "mt": "cross" if view.isolated is None else "isolated",
            "iw": money(_wallet(view, one, leverage) + view.unrealised),
            "ps": direction(view.side, view.quantity),
            "cr": money(view.realised),
        }
        for view, one, leverage in positions
    ]
    money_row = {"a": asset, "wb": money(wallet), "cw": money(cross_wallet), "bc": money(change)}
    return {"e": "ACCOUNT_UPDATE", "E": now_ms, "a": {"m": reason, "B": [money_row], "P": rows}}


def _wallet(view: PositionView, one: Instrument, leverage: int) -> Decimal:
    """What is assigned to a position: its own wallet, or the initial margin that the account lends it."""
    if view.isolated is not None:
        return view.isolated
    return one.notional(abs(view.quantity), view.entry) / leverage if view.quantity else ZERO


def config_event(one: Instrument, leverage: int, isolated: bool, now_ms: int) -> View:
    """The leverage settings of an instrument."""
    kind = "isolated" if isolated else "cross"
    return {
        "e": "ACCOUNT_CONFIG_UPDATE",
        "E": now_ms,
        "ac": {"s": name_of(one), "l": leverage, "S": leverage, "mt": kind},
    }
