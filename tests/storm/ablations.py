"""The agent with one safeguard taken out: a storm that does not notice proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

from msgspec.structs import replace

from agent.core import orders, risk
from agent.core.desk import Desk, Input, Silence
from agent.core.events import Fact
from agent.core.orders import S
from agent.core.venue import Place


class Resending(Desk):
    """Sends an order again, under its own id, when its reply was lost."""

    def _translate(self, arrived: Input, now: int) -> Sequence[Fact]:
        if isinstance(arrived, Silence):
            call = self.calls.get(arrived.call)
            if call is not None and isinstance(call.request, Place):
                del self.calls[arrived.call]
                again = Place(order=replace(call.request.order, expires_at=now + 3 * S))
                self.lanes.put(again, self.dialect.weigh(again))
                return ()
        return super()._translate(arrived, now)


@contextmanager
def resend_on_a_lost_reply() -> Iterator[type[Desk]]:
    """No answer is taken for "not done"."""
    yield Resending


@contextmanager
def believe_the_first_denial() -> Iterator[type[Desk]]:
    """ "No such order" is believed while the request may still be on its way."""
    with patch.object(orders, "SETTLE_NS", -(10**18)), patch.object(orders, "TWICE_NS", 0):
        yield Desk


@contextmanager
def plan_from_an_old_position() -> Iterator[type[Desk]]:
    """A position is used although our own fill is newer."""
    gates = tuple(gate for gate in risk.ALWAYS if gate is not risk.settled)
    with patch.object(risk, "ALWAYS", gates):
        yield Desk


@contextmanager
def send_while_one_is_unknown() -> Iterator[type[Desk]]:
    """An order of unknown fate holds nothing up."""

    def believe_it_gone(self: orders.Blotter, instrument: int | None = None) -> list[orders.Order]:
        known = (orders.State.SENT, orders.State.WORKING)
        return [o for o in self.orders.values() if o.state in known and instrument in (None, o.instrument)]

    with patch.object(orders.Blotter, "live", believe_it_gone):
        yield Desk


ABLATIONS: dict[str, Callable[[], AbstractContextManager[type[Desk]]]] = {
    ablation.__name__: ablation
    for ablation in (
        resend_on_a_lost_reply,
        believe_the_first_denial,
        plan_from_an_old_position,
        send_while_one_is_unknown,
    )
}
