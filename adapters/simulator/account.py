"""An account: wallet, positions, leverage, and the margin they need."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from adapters.simulator.instruments import Instrument, instrument
from adapters.simulator.margin import maintenance_margin
from adapters.simulator.orders import ZERO, Order, PositionView, Reason

DEMO_KEY = "demo-key-of-the-local-exchange-0000000000000000000000000000000000"
"""The API key of an account that was not given one. It opens nothing but a local exchange."""

DEMO_SECRET = "demo-secret-of-the-local-exchange-0000000000000000000000000000000"  # noqa: S105
"""The secret that goes with `DEMO_KEY`."""

CENT = Decimal("0.00000001")
"""Money is kept to eight decimals."""

_FINEST = Decimal("1e-16")
"""What quantities are worth ends here, though one over a price may not end at all: sums are then exact."""

Marks = Callable[[str], Decimal]
Listings = Callable[[str], Instrument]


class Position:
    """A signed quantity of an instrument and what it cost.

    `cost` is signed too: the sum of quantity times `Instrument.worth` of what is open. Realised
    results are rounded to eight decimals and the rounding stays in `cost` until the position is flat,
    so that wallet and positions add up whatever the order of trades. `wallet` is the part of the account's
    wallet that an isolated position has to itself; zero with cross margin.
    """

    def __init__(self, one: Instrument, side: str) -> None:
        self.symbol = one.symbol
        self.side = side
        self._one = one
        self.quantity = ZERO
        self.cost = ZERO
        self.realised = ZERO
        self.wallet = ZERO
        self.updated_ms = 0

    @property
    def entry(self) -> Decimal:
        """The average entry price; zero when flat."""
        return self._one.price_of(abs(self.quantity), abs(self.cost))

    def unrealised(self, mark: Decimal) -> Decimal:
        """The open result at this mark, in margin asset."""
        return (self.quantity * self._one.worth(mark)).quantize(_FINEST) - self.cost

    def trade(self, signed: Decimal, price: Decimal) -> Decimal:
        """Book a fill of a signed quantity; gives the profit it realised, before fees."""
        held, paid = self.quantity, (signed * self._one.worth(price)).quantize(_FINEST)
        after = held + signed
        realised = ZERO
        if held and (held > 0) != (signed > 0):
            if after == 0:
                realised = -(self.cost + paid)
            else:
                closing = -signed if abs(signed) <= abs(held) else held
                realised = closing * self._one.worth(price) - closing * (self.cost / held)
            realised = realised.quantize(CENT)
        self.quantity = after
        self.cost = self.cost + paid + realised if after else ZERO
        self.realised += realised
        return realised

    def assign(self, before: Decimal, margin: Decimal, fee: Decimal) -> None:
        """Share out the wallet of an isolated position after a fill that found `before` held.

        What was closed gives its part of the wallet back to the account; what was opened takes
        `margin` for each unit from it, and the fee is paid out of that.
        """
        same_side = (before > 0) == (self.quantity > 0)
        kept = min(abs(before), abs(self.quantity)) if same_side else ZERO
        opened = abs(self.quantity) - kept
        if before:
            self.wallet = (self.wallet * kept / abs(before)).quantize(CENT)
        if opened:
            self.wallet += (opened * margin).quantize(CENT) - fee

    def view(self, mark: Decimal, *, isolated: bool) -> PositionView:
        """The position as it stands at this mark."""
        return PositionView(
            self.symbol,
            self.side,
            self.quantity,
            self.entry,
            self.realised,
            self.unrealised(mark),
            self.wallet if isolated else None,
        )


class Account:
    """What one API key can see and move: an account in one asset.

    Start it with a `balance`, `positions` by symbol (signed quantity, opened at
    the mark) and a `leverage` for all symbols or for each. Margin is cross except in the symbols
    that are `isolated`. `hedge` keeps longs and shorts apart. `wallet` is all of the balance;
    `cross_wallet` leaves out what isolated positions have to themselves. A
    `public_key` in PEM form, Ed25519 or RSA, replaces the secret. `rights` overrides fields of what
    the venue says about the key's permissions. `keys` are further keys to the same account, with
    their secrets. `alias` is the id the venue shows for it. `collateral` is what other assets are
    worth in its own, which counts as margin as far as `haircuts` say, all of it if they don't;
    `barred` is why it may not place orders.
    """

    def __init__(
        self,
        api_key: str = DEMO_KEY,
        secret: str = DEMO_SECRET,
        balance: Decimal | str | int = 10_000,
        positions: Mapping[str, Decimal | str | int | float] | None = None,
        leverage: int | Mapping[str, int] = 20,
        *,
        isolated: Iterable[str] = (),
        hedge: bool = False,
        public_key: str | None = None,
        asset: str = "USDT",
        rights: Mapping[str, bool | int] | None = None,
        keys: Mapping[str, str] | None = None,
        alias: str = "SgsR",
        collateral: Mapping[str, Decimal | str | int] | None = None,
    ) -> None:
        self.api_key = api_key
        self.secret = secret
        self.public_key = public_key
        self.asset = asset
        self.wallet = Decimal(balance)
        self.hedge = hedge
        self.rights: dict[str, object] = dict(rights or {})
        self.keys = dict(keys or {})
        self.alias = alias
        self.collateral = {asset: Decimal(worth) for asset, worth in (collateral or {}).items()}
        self.haircuts: dict[str, Decimal] = {}
        self.barred: Reason | None = None
        self.opening_positions = {s: Decimal(str(q)) for s, q in (positions or {}).items()}
        self.listings: Listings = instrument
        """What its positions are valued by: the listings of its exchange, once it has one."""
        self.positions: dict[tuple[str, str], Position] = {}
        self.open_orders: dict[int, Order] = {}
        self.updated_ms = 0
        self._isolated = dict.fromkeys(isolated)
        self._leverage = {} if isinstance(leverage, int) else dict(leverage)
        self._default_leverage = leverage if isinstance(leverage, int) else 20

    def leverage(self, symbol: str) -> int:
        """The leverage set for a symbol."""
        return self._leverage.get(symbol, self._default_leverage)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Change the leverage of a symbol; the checks are the exchange's."""
        self._leverage[symbol] = leverage

    def is_isolated(self, symbol: str) -> bool:
        """Whether positions in a symbol have a wallet of their own."""
        return symbol in self._isolated

    def set_isolated(self, symbol: str, isolated: bool) -> None:
        """Change the margin type of a symbol; the checks are the exchange's."""
        self._isolated.pop(symbol, None)
        if isolated:
            self._isolated[symbol] = None

    @property
    def pledged(self) -> Decimal:
        """What other assets count for as margin, after their haircuts."""
        worths = self.collateral.items()
        return sum((worth * self.haircuts.get(asset, Decimal(1)) for asset, worth in worths), ZERO)

    @property
    def cross_wallet(self) -> Decimal:
        """The balance that no isolated position has to itself."""
        return self.wallet - sum((one.wallet for one in self.positions.values()), ZERO)

    def position(self, symbol: str, side: str = "BOTH") -> Position:
        """The position in a symbol, made flat when there is none yet."""
        key = (symbol, side)
        found = self.positions.get(key)
        if found is None:
            found = self.positions[key] = Position(self.listings(symbol), side)
        return found

    def held(self) -> list[Position]:
        """The positions that are not flat."""
        return [one for one in self.positions.values() if one.quantity]

    def shared(self) -> list[Position]:
        """The positions that are not flat and draw on the whole account: those of cross margin."""
        return [one for one in self.held() if not self.is_isolated(one.symbol)]

    def unrealised(self, marks: Marks) -> Decimal:
        """The open result of all positions."""
        return sum((one.unrealised(marks(one.symbol)) for one in self.held()), ZERO)

    def cross_unrealised(self, marks: Marks) -> Decimal:
        """The open result of the positions of cross margin."""
        return sum((one.unrealised(marks(one.symbol)) for one in self.shared()), ZERO)

    def maintenance(self, marks: Marks, listings: Listings) -> Decimal:
        """What all positions together must keep as equity."""
        return self._maintenance(self.held(), marks, listings)

    def cross_maintenance(self, marks: Marks, listings: Listings) -> Decimal:
        """What the positions of cross margin must keep as equity."""
        return self._maintenance(self.shared(), marks, listings)

    def _maintenance(self, held: list[Position], marks: Marks, listings: Listings) -> Decimal:
        total = ZERO
        for one in held:
            listed = listings(one.symbol)
            total += maintenance_margin(listed, listed.notional(abs(one.quantity), marks(one.symbol)))
        return total

    def order_notionals(self, symbol: str, side: str) -> tuple[Decimal, Decimal]:
        """Notional of the open orders of one position that could add to it: bids, then asks."""
        bids = asks = ZERO
        one = self.listings(symbol)
        for order in self.open_orders.values():
            if order.symbol != symbol or order.position_side != side or order.reduce_only:
                continue
            if order.side > 0:
                bids += one.notional(order.left, order.price)
            else:
                asks += one.notional(order.left, order.price)
        return bids, asks

    def symbols_in_use(self) -> list[tuple[str, str]]:
        """(symbol, position side) of every position and open order, without repeats."""
        keys = {(one.symbol, one.side): None for one in self.held()}
        keys.update({(o.symbol, o.position_side): None for o in self.open_orders.values()})
        return list(keys)

    def initial_margin(
        self,
        symbol: str,
        side: str,
        mark: Decimal,
        more_bids: Decimal = ZERO,
        more_asks: Decimal = ZERO,
    ) -> tuple[Decimal, Decimal]:
        """Initial margin of one position and of the open orders on top of it.

        Orders count on the side where they make the exposure largest, so that a bid against a short
        position needs nothing until it is larger than the position. `more_bids` and `more_asks`
        are notionals of orders not yet placed.
        """
        held = self.positions.get((symbol, side))
        notional = self.listings(symbol).notional(held.quantity, mark) if held else ZERO
        bids, asks = self.order_notionals(symbol, side)
        bids += more_bids
        asks += more_asks
        if side == "LONG":
            worst = abs(notional) + bids
        elif side == "SHORT":
            worst = abs(notional) + asks
        else:
            worst = max(abs(notional + bids), abs(notional - asks), abs(notional))
        leverage = self.leverage(symbol)
        own = abs(notional) / leverage
        return own, worst / leverage - own

    def total_initial_margin(self, marks: Marks) -> tuple[Decimal, Decimal]:
        """Initial margin of all positions and of all open orders."""
        positions = orders = ZERO
        for symbol, side in self.symbols_in_use():
            own, extra = self.initial_margin(symbol, side, marks(symbol))
            positions += own
            orders += extra
        return positions, orders

    def free(self, marks: Marks) -> Decimal:
        """What is left of the cross wallet after all margin that it has to give; may be below zero.

        An isolated position has its margin already; its open orders still need theirs.
        """
        free = self.cross_wallet + self.cross_unrealised(marks) + self.pledged
        for symbol, side in self.symbols_in_use():
            own, extra = self.initial_margin(symbol, side, marks(symbol))
            free -= extra if self.is_isolated(symbol) else own + extra
        return free

    def available(self, marks: Marks) -> Decimal:
        """What is free for new positions; never below zero."""
        return max(ZERO, self.free(marks))
