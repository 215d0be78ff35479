"""The websocket events of Binance USDⓈ-M as plain dictionaries; numbers are exact decimal text."""

from collections.abc import Iterable
from decimal import Decimal

from adapters.simulator.arithmetic import money, on_grid, plain
from adapters.simulator.binance_views import FOREVER_MS, LISTED_MS, SIDES, View
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import ZERO, Fill, Order, PositionView


def product(one: Instrument) -> int:
    """The number of the product that an instrument belongs to: 1 for USDⓈ-M, 2 for COIN-M."""
    return 2 if one.inverse else 1


def mark_frame(exchange: Exchange, symbol: str, now_ms: int) -> View:
    """A mark price event."""
    mark, one = money(exchange.books[symbol].mark), exchange.instruments[symbol]
    return {
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": symbol,
        **({"ps": one.pair} if one.inverse else {}),
        "p": mark,
        "i": money(exchange.index_price(symbol)),
        "P": mark,
        "r": money(exchange.funding_rate(symbol)),
        "ap": mark,
        "T": exchange.next_funding_ms(symbol),
        "st": product(one),
    }


def contract_frame(one: Instrument, now_ms: int) -> View:
    """A listing that has changed: its status and its margin brackets."""
    return {
        "e": "contractInfo",
        "E": now_ms,
        "s": one.symbol,
        "ps": one.pair,
        "ct": "PERPETUAL",
        "dt": FOREVER_MS,
        "ot": LISTED_MS,
        "cs": one.status,
        "bks": [
            {
                "bs": number,
                "bnf": float(tier.floor),
                "bnc": float(tier.cap),
                "mmr": float(tier.rate),
                "cf": float(tier.cum),
                "mi": one.brackets[number].leverage + 1 if number < len(one.brackets) else 1,
                "ma": tier.leverage,
            }
            for number, tier in enumerate(one.brackets, 1)
        ],
        "st": product(one),
    }


def order_frame(order: Order, execution: str, one: Instrument, now_ms: int) -> View:
    """An order event without a fill; `fill_frame` adds one."""
    waits = order.is_open and order.price
    open_notional = plain(one.notional(order.left, order.price).quantize(Decimal("1e-8"))) if waits else "0"
    return {
        "e": "ORDER_TRADE_UPDATE",
        "T": order.updated_ms,
        "E": now_ms,
        "o": {
            "s": order.symbol,
            "c": order.client_id,
            "S": SIDES[order.side],
            "o": order.kind,
            "f": order.time_in_force,
            "q": plain(order.quantity),
            "p": plain(order.price),
            "ap": plain(order.average_price.quantize(Decimal("1e-8"))),
            "sp": "0",
            "x": execution,
            "X": order.status,
            "i": order.id,
            "M": order.modify_id,
            "l": "0",
            "z": plain(order.executed),
            "L": "0",
            "n": "0",
            "N": one.asset,
            **({"ma": one.asset} if one.inverse else {}),
            "T": order.updated_ms,
            "t": 0,
            "b": open_notional if order.side > 0 else "0",
            "a": open_notional if order.side < 0 else "0",
            "m": False,
            "R": order.reduce_only,
            "wt": "CONTRACT_PRICE",
            "ot": order.kind,
            "ps": order.position_side,
            "cp": False,
            "rp": "0",
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": order.self_trade,
            "pm": order.price_match,
            "gtd": order.good_till_ms,
            "er": str(order.expiry),
        },
    }


def fill_frame(order: Order, fill: Fill, one: Instrument, now_ms: int, *, forced: bool) -> View:
    """An order event with a fill; a forced one is marked as calculated."""
    frame = order_frame(order, "CALCULATED" if forced else "TRADE", one, now_ms)
    frame["o"].update(
        l=plain(fill.quantity),
        L=plain(fill.price),
        n=plain(fill.fee),
        t=fill.id,
        m=fill.maker,
        rp=plain(fill.realised),
    )
    return frame


def trade_lite_frame(order: Order, fill: Fill, one: Instrument, now_ms: int) -> View:
    """The short notice of a fill that comes first."""
    return {
        "e": "TRADE_LITE",
        "E": now_ms,
        "T": fill.at_ms,
        "s": order.symbol,
        "q": on_grid(order.quantity, one.quantity_decimals),
        "p": on_grid(order.price, one.price_decimals + 1) if order.price else "0",
        "m": fill.maker,
        "c": order.client_id,
        "S": SIDES[order.side],
        "L": on_grid(fill.price, one.price_decimals + 1),
        "l": on_grid(fill.quantity, one.quantity_decimals),
        "t": fill.id,
        "i": order.id,
    }


def account_frame(
    asset: str,
    wallet: Decimal,
    cross_wallet: Decimal,
    change: Decimal,
    reason: str,
    at_ms: int,
    now_ms: int,
    *,
    changed: Iterable[PositionView] = (),
    taker_fee: Decimal = ZERO,
    symbol: str = "",
) -> View:
    """An account event: the wallets, and the positions that have changed."""
    positions: list[View] = []
    for position in changed:
        side = (position.quantity > 0) - (position.quantity < 0)
        positions.append(
            {
                "s": position.symbol,
                "pa": plain(position.quantity),
                "ep": plain(position.entry.quantize(Decimal("1e-8"))),
                "cr": plain(position.realised),
                "up": plain(position.unrealised.quantize(Decimal("1e-8"))),
                "mt": "cross" if position.isolated is None else "isolated",
                "iw": plain(position.isolated or ZERO),
                "ps": position.side,
                "ma": asset,
                "bep": plain((position.entry * (1 + side * taker_fee)).quantize(Decimal("1e-8"))),
            }
        )
    body: View = {
        "B": [{"a": asset, "wb": plain(wallet), "cw": plain(cross_wallet), "bc": plain(change)}],
        "P": positions,
        "m": reason,
    }
    if symbol:
        body["S"] = symbol
    return {"e": "ACCOUNT_UPDATE", "T": at_ms, "E": now_ms, "a": body}
