"""Targets: what the portfolio should hold, by asset, by strategy and in leverage, as one signed weight per instrument.

The three dimensions are one matrix: strategy s wants ``M[s][i] = capital_s · leverage_s · composition_s,i`` of equity
in instrument i. What is held is its sum over the strategies, so opposite wishes net out and are never traded. A
portfolio without strategies is one that has a single strategy with all of the capital.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from agent.core.health import Health

Hold = Literal["hold"]
Rows = list[list[float]]
"""One row for each strategy, one column for each instrument."""

FIT_ROUNDS = 10_000
FIT_ENOUGH = 1e-12


class Strategy(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the portfolio with capital, leverage and weights of its own."""

    capital: float
    """Its share of equity. What the shares of all strategies leave over stays in cash."""
    leverage: float | None = None
    """Gross notional over its capital; that of the whole portfolio if not given."""
    weights: dict[str, float] = {}
    """Signed shares of its gross notional; those of the whole portfolio if not given."""
    health: Health | None = None
    """When it gets less capital or none; never if not given."""


class Targets(Struct, frozen=True, forbid_unknown_fields=True):
    """What the user wants to hold.

    ``weights`` are signed shares of the target gross notional: long +, short -, their absolute values add up to 1. The
    word ``hold`` leaves an instrument alone: it counts in equity and leverage and is never traded. A name in lower case
    is a basket, whose share is divided as ``baskets`` says.
    """

    weights: dict[str, float | Hold] = {}
    leverage: float = 1.0
    """Gross notional over equity."""
    leverage_mode: Literal["constant", "cap", "off"] = "constant"
    """constant: keep the leverage; cap: only ever come down to it; off: keep shares at whatever leverage there is."""
    basis: Literal["notional", "margin"] = "notional"
    """What the weights are shares of. margin: of all initial margin, so that leverage follows from the venue's leverage
    settings and ``utilisation``."""
    utilisation: float | None = None
    """Initial margin over equity, where the weights are shares of margin."""
    baskets: dict[str, dict[str, float]] = {}
    """Signed shares of each basket's own gross."""
    strategies: dict[str, Strategy] = {}
    freed: str = "pro rata"
    """Where the capital goes that a strategy's health takes away: ``pro rata`` to those in full health, ``cash``, or
    the name of one."""
    boost: float = 1.25
    """No strategy is given more than this times its own share of the capital in that way."""

    @property
    def symbols(self) -> list[str]:
        """Every instrument that is named, in the order of the file."""
        names = [*self.weights, *(name for strategy in self.strategies.values() for name in strategy.weights)]
        return list(dict.fromkeys(symbol for name in names for symbol in self.baskets.get(name, {name: 1.0})))

    @property
    def held(self) -> list[str]:
        """The instruments that are left alone."""
        return [name for name, share in self.weights.items() if share == "hold"]

    @property
    def capital(self) -> list[float]:
        """The share of equity of each strategy, in the order of the file; all of it where there are none."""
        return [strategy.capital for strategy in self.strategies.values()] or [1.0]

    def compositions(self, symbols: Sequence[str]) -> Rows:
        """The signed shares that each strategy gives to ``symbols``; one row where there are no strategies."""
        own = [strategy.weights or self.weights for strategy in self.strategies.values()] or [self.weights]
        return [self.spread(weights, symbols) for weights in own]

    def leverages(self) -> list[float]:
        """The leverage of each strategy."""
        own = [strategy.leverage for strategy in self.strategies.values()] or [None]
        return [self.leverage if leverage is None else leverage for leverage in own]

    def spread(self, weights: Mapping[str, float | Hold], symbols: Sequence[str]) -> list[float]:
        """The signed share of each of ``symbols``, with baskets divided."""
        shares = dict.fromkeys(symbols, 0.0)
        for name, share in weights.items():
            if share == "hold":
                continue
            for symbol, part in self.baskets.get(name, {name: 1.0}).items():
                shares[symbol] += share * part
        return list(shares.values())


class Given(Struct, frozen=True):
    """Targets that came from outside while the agent runs (see `agent.feed`). Times are UTC nanoseconds."""

    targets: Targets
    issued_at: int
    """Older ones never replace newer ones."""
    valid_until: int
    """Not taken from then on; those that are in force stay, and it is said that they are past their time."""
    source: str


def compose(capital: Sequence[float], leverages: Sequence[float], compositions: Iterable[Sequence[float]]) -> Rows:
    """What each strategy wants of each instrument, as a signed weight: signed notional over the account's equity."""
    return [
        [share * leverage * part for part in composition]
        for share, leverage, composition in zip(capital, leverages, compositions, strict=True)
    ]


def netted(matrix: Sequence[Sequence[float]]) -> list[float]:
    """The weight that is held of each instrument."""
    return [sum(column) for column in zip(*matrix, strict=True)]


def gross(weights: Iterable[float]) -> float:
    """Sum of absolute values."""
    return sum(map(abs, weights))


def fitted(prior: Sequence[Sequence[float]], rows: Sequence[float], columns: Sequence[float]) -> Rows:
    """The matrix nearest to ``prior`` (entries not negative) with these sums: iterative proportional fitting.

    It keeps the odds ratios of the prior. From a prior of ones it is the product rule, which assumes nothing beyond the
    sums. The sums of both must be equal. Source: Deming and Stephan, 1940.
    """
    matrix = [list(row) for row in prior]
    for _ in range(FIT_ROUNDS):
        for row, total in zip(matrix, rows, strict=True):
            scale = total / sum(row) if sum(row) else 0.0
            row[:] = [value * scale for value in row]
        sums = netted(matrix)
        if max(abs(have - want) for have, want in zip(sums, columns, strict=True)) <= FIT_ENOUGH * sum(columns):
            break
        scales = [want / have if have else 0.0 for have, want in zip(sums, columns, strict=True)]
        for row in matrix:
            row[:] = [value * scale for value, scale in zip(row, scales, strict=True)]
    return matrix


def from_margin_shares(
    shares: Sequence[float], settings: Sequence[int | None], utilisation: float
) -> list[float] | None:
    """Weights from signed shares of all initial margin: ``w = share · leverage setting · utilisation``.

    None while the leverage setting of an instrument with a share is not known.
    """
    weights = []
    for share, setting in zip(shares, settings, strict=True):
        if share and setting is None:
            return None
        weights.append(share * (setting or 0) * utilisation)
    return weights


def matrix_of(
    targets: Targets, symbols: Sequence[str], settings: Sequence[int | None], capital: Sequence[float] | None = None
) -> Rows | None:
    """What each strategy wants of each instrument at the leverage that the file names.

    ``settings`` are the venue's leverage settings, ``capital`` the shares of equity where health has changed them. None
    while a leverage setting is needed and not known.
    """
    compositions = targets.compositions(symbols)
    if targets.basis == "margin":
        weights = from_margin_shares(compositions[0], settings, targets.utilisation or 0.0)
        return None if weights is None else [weights]
    return compose(targets.capital if capital is None else capital, targets.leverages(), compositions)


def wishes_of(
    targets: Targets, settings: Sequence[int | None] = (), capital: Sequence[float] | None = None
) -> list[float | None] | None:
    """The weight wanted of each instrument at the leverage that the file names, in its order; None for ``hold``.

    The whole is None while it is not known: see `matrix_of`.
    """
    symbols = targets.symbols
    matrix = matrix_of(targets, symbols, settings or [None] * len(symbols), capital)
    if matrix is None:
        return None
    held = targets.held
    return [None if symbol in held else wish for symbol, wish in zip(symbols, netted(matrix), strict=True)]


def following(targets: Targets, wanted: float, leverage_now: float) -> float:
    """The part of ``wanted`` gross leverage to hold while there is ``leverage_now`` (what is on hold left out)."""
    if targets.leverage_mode == "constant" or not wanted:
        return 1.0
    part = leverage_now / wanted
    return min(1.0, part) if targets.leverage_mode == "cap" else part
