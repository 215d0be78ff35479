"""How a BingX account is set up, and what only those can read who know it: its positions, its money, its worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from adapters import bingx_facts as read
from adapters import bingx_frames as wire
from agent.core import events as fact
from agent.core.events import Fact
from agent.core.instruments import Instrument

MONEY: Final = "USDT"
DEMO_MONEY: Final = "VST"
"""What the demo environment counts in. It has a value nowhere, and stands there for `MONEY`."""


class Misfit(ValueError):
    """Positions that the account can't have in the mode that it is believed to be in."""


class Account:
    """One account, of the demo environment or not. Its mode takes two questions: about the collateral, then about the
    sides of positions."""

    def __init__(self, *, demo: bool) -> None:
        self._money = DEMO_MONEY if demo else MONEY
        self.hedge: bool | None = None
        self._many: bool | None = None
        """Whether it has many collateral assets."""
        self._told = False
        """Both were answered, so the next question about the mode begins anew."""

    @property
    def asks_collateral(self) -> bool:
        """Whether the next question about the mode is the one about collateral."""
        return self._many is None or self._told

    def collateral_facts(self, data: Raw) -> list[Fact]:
        """The answer to the first question, of which there is nothing to tell yet."""
        self._many, self._told = wire.ASSET_MODE.decode(data).asset_mode == "multiAssetsMode", False
        return []

    def mode_facts(self, data: Raw) -> list[Fact]:
        """The answer to the second question, and so the mode."""
        if self._many is None:
            raise ValueError("the asset mode is not known yet")
        self.hedge, self._told = wire.POSITION_MODE.decode(data).dual_side_position, True
        return [fact.Mode(self.hedge, self._many, can_trade=None)]

    def worth_facts(self, assets: Sequence[wire.Asset], asked_at: int) -> list[Fact]:
        """Wallets and totals, where one asset has them all."""
        if self._many is not False:
            why = "is on many collateral assets, whose worth the venue does not tell: switch it to one"
            raise ValueError(f"the account {why if self._many else 'is not known to have one collateral asset yet'}")
        return self.renamed(read.account_facts(assets, self._money, asked_at))

    def renamed(self, facts: Sequence[Fact]) -> list[Fact]:
        """Facts about the demo's money, as if it were the money that contracts are settled in."""
        return [self._rename(one) for one in facts] if self._money != MONEY else list(facts)

    def _rename(self, one: Fact) -> Fact:
        match one:
            case fact.Balance(asset=self._money) | fact.Flow(asset=self._money):
                return replace(one, asset=MONEY)
            case fact.Filled(fee_asset=self._money):
                return replace(one, fee_asset=MONEY)
            case _:
                return one

    def positions_of(
        self, rows: Sequence[tuple[str, read.Held]], index: Mapping[str, int], grids: Mapping[str, Instrument], at: int
    ) -> tuple[list[fact.Position], tuple[str, ...]]:
        """The positions in rows of an answer or a frame, and the symbols in it that are not in the portfolio."""
        by_symbol: dict[str, list[read.Held]] = {}
        for symbol, row in rows:
            by_symbol.setdefault(symbol, []).append(row)
        held: list[fact.Position] = []
        for symbol in [symbol for symbol in by_symbol if symbol in index]:
            if symbol not in grids:
                raise ValueError(f"position of {symbol:.40}, which is not listed")
            if self.hedge is None:
                raise ValueError("the position mode is not known yet")
            try:
                held += read.positions_of(grids[symbol], by_symbol[symbol], at, hedge=self.hedge)
            except ValueError as error:
                raise Misfit(str(error)) from None
        return held, tuple(symbol for symbol in by_symbol if symbol not in index)
