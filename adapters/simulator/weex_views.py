"""What WEEX V3 writes, as plain dictionaries: rows of answers, and rows of frames where all numbers are text."""

from decimal import Decimal
from itertools import takewhile

from adapters.simulator.account import Account, Position
from adapters.simulator.arithmetic import money, on_grid, plain
from adapters.simulator.book import Level
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import ZERO, Fill, Income, Order
from adapters.simulator.weex_call import ID_BASE, View

SIDES = {1: "BUY", -1: "SELL"}

_DAY_MS = 86_400_000
_TRADE_SIZE = 4_000
"""What a trade comes to in quote asset, to tell how many there were."""
_IN_FORCE = {"GTX": "POST_ONLY"}
_FLOWS = {
    "REALIZED_PNL": "realized_pnl",
    "COMMISSION": "order_fill_fee",
    "FUNDING_FEE": "position_funding",
    "TRANSFER": "transfer",
}
_STATES = {"PARTIALLY_FILLED": "NEW", "EXPIRED": "CANCELED"}
"""The states of the exchange that the venue has no word for: what is left of an order is cancelled."""


def venue_id(number: int) -> int:
    """An id as the venue shows it."""
    return ID_BASE + number


def contract_view(one: Instrument, *, as_text: bool) -> View:
    """One row of exchangeInfo; numbers come as numbers for some contracts and as text for others."""

    def word(value: Decimal | int) -> str | float | int:
        text = plain(Decimal(value))
        return text if as_text else (float(text) if "." in text else int(text))

    return {
        "symbol": one.symbol,
        "baseAsset": one.base,
        "quoteAsset": one.quote,
        "marginAsset": one.quote,
        "pricePrecision": word(one.price_decimals),
        "quantityPrecision": word(one.quantity_decimals),
        "baseAssetPrecision": word(3),
        "quotePrecision": word(8),
        "contractVal": word(one.step / 10),  # metadata: whoever multiplies by it is wrong
        "delivery": [f"{hour:02}:00:00" for hour in range(0, 24, one.funding_hours)],
        "forwardContractFlag": True,
        "minLeverage": word(1),
        "maxLeverage": word(one.brackets[0].leverage),
        "buyLimitPriceRatio": word(one.band),
        "sellLimitPriceRatio": word(one.band),
        "makerFeeRate": word(Decimal("0.0002")),
        "takerFeeRate": word(Decimal("0.0008")),
        "minOrderSize": word(one.step),
        "maxOrderSize": word(one.max_quantity),
        "maxPositionSize": word(one.max_quantity * 2),
        "marketOpenLimitSize": word(one.max_market_quantity),
    }


def premium_view(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """Mark, index and funding: the rate that was settled last, and the one that is expected next."""
    rows = exchange.funding_rows[symbol]
    return {
        "symbol": symbol,
        "markPrice": plain(exchange.books[symbol].mark),
        "indexPrice": plain(exchange.index_price(symbol)),
        "lastFundingRate": money(rows[-1].rate if rows else ZERO),
        "forecastFundingRate": money(exchange.funding_rate(symbol)),
        "interestRate": "0.0001",
        "nextFundingTime": exchange.next_funding_ms(symbol),
        "time": now_ms,
        "collectCycle": exchange.instruments[symbol].funding_hours * 60,
    }


def _day(exchange: Exchange, symbol: str, now_ms: int) -> dict[str, str]:
    """The last day's prices, with an invented turnover that fits its mean price."""
    one, day = exchange.instruments[symbol], exchange.candles.over(symbol, _DAY_MS, now_ms)
    mean = Decimal(on_grid((day.open + day.high + day.low + day.close) / 4, one.price_decimals))
    volume = (one.day_turnover / mean).quantize(one.step)
    names = ("open", "high", "low", "close")
    prices = {name: on_grid(getattr(day, name), one.price_decimals) for name in names}
    change = day.close - day.open
    return {
        **prices,
        "change": on_grid(change, one.price_decimals),
        "ratio": f"{change / day.open:.6f}",
        "mean": plain(mean),
        "volume": plain(volume),
        "quote": plain(volume * mean),
        "mark": plain(exchange.books[symbol].mark),
        "index": plain(exchange.index_price(symbol)),
    }


def day_view(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """The statistics of a day, as they are asked for."""
    day = _day(exchange, symbol, now_ms)
    return {
        "symbol": symbol,
        "priceChange": day["change"],
        "priceChangePercent": day["ratio"],
        "lastPrice": day["close"],
        "openPrice": day["open"],
        "highPrice": day["high"],
        "lowPrice": day["low"],
        "volume": day["volume"],
        "quoteVolume": day["quote"],
        "markPrice": day["mark"],
        "indexPrice": day["index"],
        "openTime": now_ms - _DAY_MS,
        "closeTime": now_ms,
    }


def ticker_frame(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """The same as it streams, mark and index in it."""
    day = _day(exchange, symbol, now_ms)
    row = {
        "p": day["change"],
        "P": day["ratio"],
        "w": day["mean"],
        "c": day["close"],
        "o": day["open"],
        "h": day["high"],
        "l": day["low"],
        "v": day["volume"],
        "q": day["quote"],
        "O": now_ms - _DAY_MS,
        "C": now_ms,
        "n": int(Decimal(day["quote"]) / _TRADE_SIZE),
        "m": day["mark"],
        "i": day["index"],
    }
    return {"e": "ticker", "E": now_ms, "s": symbol, "d": [row]}


def level_text(level: Level, one: Instrument) -> list[str]:
    """A price level as the wire writes it; a size of nought is "0"."""
    price, size = level
    return [on_grid(price, one.price_decimals), on_grid(size, one.quantity_decimals) if size else "0"]


# Orders


def order_view(order: Order) -> View:
    """An order as it is asked for."""
    return {
        "avgPrice": plain(order.average_price.quantize(Decimal("1e-8"))),
        "clientOrderId": order.client_id,
        "cumQuote": plain(order.quote),
        "executedQty": plain(order.executed),
        "orderId": venue_id(order.id),
        "origQty": plain(order.quantity),
        "price": plain(order.price),
        "reduceOnly": False,
        "side": SIDES[order.side],
        "positionSide": order.position_side,
        "status": _STATES.get(order.status, order.status),
        "stopPrice": "0",
        "symbol": order.symbol,
        "time": order.created_ms,
        "timeInForce": _IN_FORCE.get(order.time_in_force, order.time_in_force),
        "type": order.kind,
        "updateTime": order.updated_ms,
        "workingType": "UNKNOWN_PRICE_TYPE",
    }


def _fills_of(exchange: Exchange, order: Order) -> list[Fill]:
    """What an order has traded, the newest first."""
    since = takewhile(lambda fill: fill.at_ms >= order.created_ms, reversed(exchange.ledger.fills))
    return [fill for fill in since if fill.order_id == order.id] if order.executed else []


def order_row(exchange: Exchange, account: Account, order: Order) -> View:
    """An order as it streams."""
    fills = _fills_of(exchange, order)
    fee, realised = (sum((getattr(fill, name) for fill in fills), ZERO) for name in ("fee", "realised"))
    forced = order.client_id.startswith("autoclose-")
    status = _STATES.get(order.status, order.status)
    return {
        "id": str(venue_id(order.id)),
        "coin": account.asset,
        "symbol": order.symbol,
        "marginMode": margin_mode(account, order.symbol),
        "separatedMode": "COMBINED",
        "separatedOpenOrderId": "0",
        "positionSide": order.position_side,
        "orderSide": SIDES[order.side],
        "price": plain(order.price),
        "size": plain(order.quantity),
        "clientOrderId": order.client_id,
        "type": order.kind,
        "timeInForce": _IN_FORCE.get(order.time_in_force, order.time_in_force),
        "reduceOnly": False,
        "triggerPrice": "0",
        "orderSource": "API",
        "leverage": str(account.leverage(order.symbol)),
        "takerFeeRate": plain(exchange.fees.taker),
        "makerFeeRate": plain(exchange.fees.maker),
        "feeDiscount": "1",
        "liquidateFeeRate": "0.01",
        "status": "PENDING" if status == "NEW" else status,
        "cancelReason": "USER_CANCELED" if order.status == "CANCELED" else "UNKNOWN_ORDER_CANCEL_REASON",
        "latestFillPrice": plain(fills[0].price) if fills else "0",
        "cumFillSize": plain(order.executed),
        "cumFillValue": plain(order.quote),
        "cumFillFee": "0" if forced else plain(fee),
        "cumLiquidateFee": plain(fee) if forced else "0",
        "cumRealizePnl": plain(realised),
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }


def fill_row(account: Account, fill: Fill) -> View:
    """A fill as it streams, without a price."""
    forced = fill.client_id.startswith("autoclose-")
    return {
        "id": str(venue_id(fill.id)),
        "coin": account.asset,
        "symbol": fill.symbol,
        "orderId": str(venue_id(fill.order_id)),
        "marginMode": margin_mode(account, fill.symbol),
        "separatedMode": "COMBINED",
        "separatedOpenOrderId": "0",
        "positionSide": fill.position_side,
        "orderSide": SIDES[fill.side],
        "fillSize": plain(fill.quantity),
        "fillValue": plain(fill.quantity * fill.price),
        "fillFee": "0" if forced else plain(fill.fee),
        "liquidateFee": plain(fill.fee) if forced else "0",
        "realizePnl": plain(fill.realised),
        "direction": "MAKER" if fill.maker else "TAKER",
        "createdTime": str(fill.at_ms),
        "updatedTime": str(fill.at_ms),
    }


def trade_view(fill: Fill, account: Account) -> View:
    """A fill as it is asked for."""
    return {
        "id": venue_id(fill.id),
        "orderId": venue_id(fill.order_id),
        "symbol": fill.symbol,
        "buyer": fill.side > 0,
        "commission": plain(fill.fee),
        "commissionAsset": account.asset,
        "maker": fill.maker,
        "price": plain(fill.price),
        "qty": plain(fill.quantity),
        "quoteQty": plain(fill.quantity * fill.price),
        "realizedPnl": plain(fill.realised),
        "side": SIDES[fill.side],
        "positionSide": fill.position_side,
        "time": fill.at_ms,
    }


# Positions and account


def margin_mode(account: Account, symbol: str) -> str:
    """The margin type of a symbol."""
    return "ISOLATED" if account.is_isolated(symbol) else "CROSSED"


def position_id(exchange: Exchange, held: Position) -> int:
    """The id of a position: that of its symbol and side."""
    return venue_id(2 * list(exchange.books).index(held.symbol) + (held.side == "SHORT"))


def _position(account: Account, held: Position) -> dict[str, str]:
    """What a position's rows have in common; sizes and values are unsigned."""
    return {
        "symbol": held.symbol,
        "side": held.side,
        "leverage": str(account.leverage(held.symbol)),
        "size": plain(abs(held.quantity)),
        "openValue": plain(abs(held.cost)),
        "openFee": "0",
        "fundingFee": "0",
        "isolatedMargin": plain(held.wallet) if account.is_isolated(held.symbol) else "0",
        "cumOpenSize": plain(abs(held.quantity)),
        "cumOpenValue": plain(abs(held.cost)),
        "cumOpenFee": "0",
        "cumCloseSize": "0",
        "cumCloseValue": "0",
        "cumCloseFee": "0",
        "cumFundingFee": "0",
        "cumLiquidateFee": "0",
    }


def position_view(exchange: Exchange, account: Account, held: Position) -> View:
    """A position as it is asked for; a liquidation price of "0" is none."""
    mark = exchange.books[held.symbol].mark
    notional = abs(held.quantity) * mark
    return {
        "id": position_id(exchange, held),
        "asset": account.asset,
        **_position(account, held),
        "marginType": margin_mode(account, held.symbol),
        "separatedMode": "COMBINED",
        "separatedOpenOrderId": 0,
        "marginSize": plain((notional / account.leverage(held.symbol)).quantize(Decimal("1e-8"))),
        "isAutoAppendIsolatedMargin": False,
        "createdMatchSequenceId": held.updated_ms,
        "updatedMatchSequenceId": held.updated_ms,
        "createdTime": held.updated_ms,
        "updatedTime": held.updated_ms,
        "unrealizePnl": plain(held.unrealised(mark).quantize(Decimal("1e-8"))),
        "liquidatePrice": "0",
    }


def position_row(exchange: Exchange, account: Account, held: Position) -> View:
    """A position as it streams: no mark, no result, no liquidation price."""
    return {
        "id": str(position_id(exchange, held)),
        "coin": account.asset,
        **_position(account, held),
        "marginMode": margin_mode(account, held.symbol),
        "separatedMode": "COMBINED",
        "separatedOpenOrderId": "0",
        "autoAppendIsolatedMargin": False,
        "createdMatchSequenceId": str(held.updated_ms),
        "updatedMatchSequenceId": str(held.updated_ms),
        "createdTime": str(held.updated_ms),
        "updatedTime": str(held.updated_ms),
    }


def balance_view(exchange: Exchange, account: Account) -> View:
    """The one coin of an account; its balance moves with what is open."""
    marks = exchange.matcher.mark
    unrealised = account.unrealised(marks)
    _, in_orders = account.total_initial_margin(marks)
    return {
        "asset": account.asset,
        "balance": money(account.wallet + unrealised),
        "availableBalance": money(account.available(marks)),
        "frozen": money(in_orders),
        "unrealizePnl": money(unrealised),
    }


def account_row(exchange: Exchange, account: Account, paid_in: Decimal, paid_out: Decimal, now_ms: int) -> View:
    """The pool of an account as it streams: a collateral that opening a long lowers by all that it is worth."""
    totals = exchange.ledger.of(account.api_key).income
    spent = sum((held.cost for held in account.held()), ZERO)
    return {
        "coin": account.asset,
        "marginMode": "CROSSED",
        "crossSymbol": "",
        "isolatedPositionId": "0",
        "amount": plain(account.wallet - spent),
        "pendingDepositAmount": "0",
        "pendingWithdrawAmount": "0",
        "pendingTransferInAmount": "0",
        "pendingTransferOutAmount": "0",
        "liquidating": False,
        "legacyAmount": plain(account.wallet - spent),
        "cumDepositAmount": plain(paid_in),
        "cumWithdrawAmount": plain(paid_out),
        "cumTransferInAmount": "0",
        "cumTransferOutAmount": "0",
        "cumPositionFillFeeAmount": plain(-totals.get("COMMISSION", ZERO)),
        "cumPositionFundingAmount": plain(totals.get("FUNDING_FEE", ZERO)),
        "createdTime": str(now_ms),
        "updatedTime": str(now_ms),
    }


def income_view(row: Income, account: Account) -> View:
    """One change of a wallet."""
    return {
        "billId": str(venue_id(row.id)),
        "asset": account.asset,
        "symbol": row.symbol,
        "income": plain(row.amount),
        "incomeType": _FLOWS.get(row.kind, row.kind.lower()),
        "balance": plain(account.wallet),
        "fillFee": "0",
        "time": str(row.at_ms),
        "transferReason": "UNKNOWN_TRANSFER_REASON",
    }


def settings_view(account: Account, symbol: str) -> View:
    """The account's settings for a symbol."""
    leverage = str(account.leverage(symbol))
    return {
        "symbol": symbol,
        "marginType": margin_mode(account, symbol),
        "separatedType": "COMBINED",
        "crossLeverage": leverage,
        "isolatedLongLeverage": leverage,
        "isolatedShortLeverage": leverage,
    }
