"""Binance COIN-M futures over the local exchange: what its wire says otherwise than that of USDⓈ-M.

Paths begin with `/dapi`, streams have no categories, and a key sees one pool of margin for each coin, of which an
account here holds one.
"""

from typing import Any

from adapters.simulator.account import Position
from adapters.simulator.arithmetic import money, on_grid, plain
from adapters.simulator.binance import ROUTES as USDM
from adapters.simulator.binance import Binance
from adapters.simulator.binance_call import Call, Endpoint, flat, per_symbol
from adapters.simulator.binance_views import AccountViews, View, bracket_view
from adapters.simulator.orders import ZERO

_ABSENT = (
    "accountConfig",
    "apiTradingStatus",
    "leverageBracket",
    "multiAssetsMargin",
    "order/test",
    "rateLimit/order",
    "symbolConfig",
)
"""What only the other product has, or has otherwise."""


class CoinViews(AccountViews):
    """One account in the shapes of the account, balance and position endpoints."""

    def account(self, *, every_symbol: bool = True) -> View:
        """The account endpoint: every coin, and every symbol with the rows of its mode."""
        own: View = {"asset": self._account.asset, **{name: money(value) for name, value in self.totals().items()}}
        nothing = {name: money(ZERO) for name in own}
        coins = dict.fromkeys([self._account.asset, *(one.asset for one in self._exchange.instruments.values())])
        return {
            "assets": [
                {**(own if coin == self._account.asset else nothing), "asset": coin, "updateTime": self._updated(coin)}
                for coin in coins
            ],
            "positions": [self._kept(position) for position in self._rows(("LONG", "SHORT"))],
            "canDeposit": True,
            "canTrade": self._account.barred is None,
            "canWithdraw": True,
            "feeTier": 0,
            "updateTime": 0,
        }

    def balances(self) -> list[View]:
        """The balance endpoint."""
        sums = self.totals()
        return [
            {
                "accountAlias": self._account.alias,
                "asset": self._account.asset,
                "balance": money(sums["walletBalance"]),
                "withdrawAvailable": money(sums["maxWithdrawAmount"]),
                "crossWalletBalance": money(sums["crossWalletBalance"]),
                "crossUnPnl": money(sums["crossUnPnl"]),
                "availableBalance": money(sums["availableBalance"]),
                "updateTime": self._account.updated_ms,
            }
        ]

    def risks(self, symbol: str | None = None, *, every_symbol: bool = True) -> list[View]:
        """The position endpoint: in hedge mode every symbol has a net row as well, which is flat."""
        return [self._risk(position) for position in self._rows(("BOTH", "LONG", "SHORT"))]

    def _updated(self, coin: str) -> int:
        return self._account.updated_ms if coin == self._account.asset else 0

    def _rows(self, hedged: tuple[str, ...]) -> list[Position]:
        sides = hedged if self._account.hedge else ("BOTH",)
        return [self._account.position(symbol, side) for symbol in self._exchange.books for side in sides]

    def _settings(self, position: Position) -> View:
        leverage = self._account.leverage(position.symbol)
        most = self._exchange.instruments[position.symbol].largest_notional(leverage)
        return {
            "positionSide": position.side,
            "entryPrice": self._entry(position),
            "breakEvenPrice": self._break_even(position) if position.quantity else "0.0",
            "leverage": str(leverage),
            "maxQty": plain(most),
            "updateTime": position.updated_ms,
        }

    def _kept(self, position: Position) -> View:
        one = self._exchange.instruments[position.symbol]
        mark, notional, own, orders = self._numbers(position)
        return {
            "symbol": position.symbol,
            "positionAmt": on_grid(position.quantity, one.quantity_decimals),
            "initialMargin": money(own + orders),
            "maintMargin": money(self._maintenance(position, notional)),
            "unrealizedProfit": money(position.unrealised(mark)),
            "positionInitialMargin": money(own),
            "openOrderInitialMargin": money(orders),
            "isolated": self._account.is_isolated(position.symbol),
            "notionalValue": money(notional),
            **self._settings(position),
        }

    def _risk(self, position: Position) -> View:
        one, mark = self._exchange.instruments[position.symbol], self._marks(position.symbol)
        worth, _ = self._isolated(position)
        return {
            "symbol": position.symbol,
            "positionAmt": on_grid(position.quantity, one.quantity_decimals),
            "markPrice": money(mark),
            "unRealizedProfit": money(position.unrealised(mark)),
            "liquidationPrice": self._liquidation_price(position),
            "marginType": "isolated" if self._account.is_isolated(position.symbol) else "cross",
            "isolatedMargin": worth if worth != "0" else money(ZERO),
            "isAutoAddMargin": "false",
            "notionalValue": money(self._notional(position)),
            **self._settings(position),
        }


def _account(call: Call) -> View:
    view = CoinViews(call.exchange, call.account).account()
    return {**view, "canTrade": view["canTrade"] and call.key.may_trade}


def _balance(call: Call) -> list[View]:
    return CoinViews(call.exchange, call.account).balances()


def _risks(call: Call) -> list[View]:
    """Positions, those of one coin or pair where it is asked for."""
    coin, pair = call.params.get("marginAsset"), call.params.get("pair")
    rows = CoinViews(call.exchange, call.account).risks()
    listed = call.exchange.instruments
    return [
        row
        for row in rows
        if coin in (None, listed[row["symbol"]].asset) and pair in (None, listed[row["symbol"]].pair)
    ]


def _brackets(call: Call) -> list[View]:
    return [{**bracket_view(call.listing(symbol)), "notionalCoef": 1.0} for symbol in call.symbols()]


def _brackets_by_pair(call: Call) -> list[View]:
    pair = call.params.get("pair")
    views = [(one.pair, bracket_view(one)) for one in call.exchange.instruments.values()]
    return [{"pair": name, "brackets": view["brackets"]} for name, view in views if pair in (None, name)]


def _set_leverage(call: Call) -> View:
    symbol, leverage = call.symbol(), call.params.integer("leverage")
    call.exchange.set_leverage(call.account, symbol, leverage)
    return {"leverage": leverage, "maxQty": plain(call.listing(symbol).largest_notional(leverage)), "symbol": symbol}


def _signed(handle: Any, weight: int) -> Endpoint:
    return Endpoint(handle, flat(weight), "SIGNED")


ROUTES = {
    **{
        (method, path.replace("/fapi/", "/dapi/")): endpoint
        for (method, path), endpoint in USDM.items()
        if not path.startswith(("/fapi/v2/", "/fapi/v3/")) and path.removeprefix("/fapi/v1/") not in _ABSENT
    },
    ("GET", "/dapi/v1/account"): _signed(_account, 5),
    ("GET", "/dapi/v1/balance"): _signed(_balance, 1),
    ("GET", "/dapi/v1/positionRisk"): _signed(_risks, 1),
    ("GET", "/dapi/v1/leverageBracket"): _signed(_brackets_by_pair, 1),
    ("GET", "/dapi/v2/leverageBracket"): Endpoint(_brackets, per_symbol(1, 2), "SIGNED"),
    ("POST", "/dapi/v1/leverage"): _signed(_set_leverage, 1),
}
"""Every REST endpoint by method and path."""


class BinanceCoin(Binance):
    """The venue's REST and websocket protocol for coin-margined contracts; see `Binance` for its arguments."""

    routes = ROUTES
    futures = "DELIVERY"
    coin_margined = True

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"legacy_streams": True, **more})
