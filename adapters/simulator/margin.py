"""Margin arithmetic of perpetuals: maintenance by bracket and the liquidation price."""

from decimal import Decimal

from adapters.simulator.instruments import Instrument

ZERO = Decimal(0)


def maintenance_margin(instrument: Instrument, notional: Decimal) -> Decimal:
    """What a position of this (unsigned) notional must keep as equity, both in margin asset."""
    bracket = instrument.bracket(notional)
    return notional * bracket.rate - bracket.cum


def liquidation_price(instrument: Instrument, quantity: Decimal, entry: Decimal, collateral: Decimal) -> Decimal | None:
    """The mark at which a signed position eats up its collateral; None when there is none.

    `collateral` is the cross wallet balance less the maintenance margin, plus the unrealised
    result, of every other position. The bracket that counts is the one at the liquidation price,
    so each is tried and the one whose range holds its own answer is taken (the exchange's
    published cross formula, solved in every bracket).
    """
    if not quantity:
        return None
    size = abs(quantity)
    last = instrument.brackets[-1]
    for bracket in instrument.brackets:
        kept = collateral + bracket.cum - quantity * instrument.worth(entry)
        slope = size * bracket.rate - quantity
        if instrument.inverse:  # worth and margin go with the reciprocal of the price
            slope, kept = kept, instrument.contract * (size * bracket.rate + quantity)
        else:
            slope *= instrument.contract
        if not slope:
            continue
        price = kept / slope
        if price <= 0:
            continue
        notional = instrument.notional(size, price)
        if bracket.floor <= notional and (notional < bracket.cap or bracket is last):
            return price
    return None
