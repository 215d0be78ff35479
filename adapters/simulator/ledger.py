"""The exchange's own record of what happened: the oracle tests check an agent against."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from adapters.simulator.orders import ZERO, Fill, Income, Order

REMEMBERED_REQUESTS = 200_000
"""How many signed requests are kept to recognise one that comes again."""


class Resent(Struct, frozen=True):
    """A signed request that arrived again, byte for byte; `count` includes the first."""

    timestamp: str
    signature: str
    what: str
    """Method and path."""
    count: int


class Early(Struct, frozen=True):
    """A request sent while its address had been told to be silent; times in UTC nanoseconds.

    It had been told at `told_at`, as far as the gateway knows; on sockets the client may have heard it a little later.
    """

    what: str
    """Method and path."""
    client: str
    told_at: int
    sent_at: int
    until: int


class Totals:
    """Running sums of one account: income by kind, value traded in quote asset, number of fills."""

    def __init__(self) -> None:
        self.income: dict[str, Decimal] = {}
        self.turnover = ZERO
        self.fills = 0


class Ledger:
    """Every order ever accepted, every fill, every wallet change, and every repeated request.

    `orders` is by exchange id in order of acceptance. `rejected` counts refused order requests by
    account and reason code; `resent` lists signed requests whose timestamp and signature had been
    seen before, which no honest client produces; `arrivals` counts the arrivals of each signed
    request by timestamp, signature, method and path. `early` lists requests from addresses that had
    been told to be silent. `weights` is what each address has used in each minute, refused requests included,
    and `turned_away` how often which status was the answer to too many.
    """

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.by_client_id: dict[tuple[str, str], list[Order]] = {}
        self.fills: list[Fill] = []
        self.income: list[Income] = []
        self.totals: dict[str, Totals] = {}
        self.rejected: dict[str, Counter[int]] = {}
        self.resent: list[Resent] = []
        self.arrivals: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self.early: list[Early] = []
        self.weights: dict[tuple[str, int], int] = {}
        self.turned_away: Counter[int] = Counter()

    def accept(self, order: Order) -> None:
        """Note a new order."""
        self.orders[order.id] = order
        self.by_client_id.setdefault((order.account, order.client_id), []).append(order)

    def fill(self, fill: Fill, value: Decimal) -> None:
        """Note an execution, and what it came to in quote asset."""
        self.fills.append(fill)
        totals = self.of(fill.account)
        totals.fills += 1
        totals.turnover += value

    def earn(self, income: Income) -> None:
        """Note a wallet change."""
        self.income.append(income)
        sums = self.of(income.account).income
        sums[income.kind] = sums.get(income.kind, ZERO) + income.amount

    def of(self, account: str) -> Totals:
        """The running sums of an account."""
        return self.totals.setdefault(account, Totals())

    def reject(self, account: str, code: int) -> None:
        """Note a refused order request."""
        self.rejected.setdefault(account, Counter())[code] += 1

    def sign(self, timestamp: str, signature: str, what: str) -> int:
        """Note a signed request; gives how often it has been seen, this time included.

        What is signed does not hold method and path: a question about an order and its cancel look alike.
        """
        key = (timestamp, signature, what)
        count = self.arrivals.get(key, 0) + 1
        self.arrivals[key] = count
        if count > 1:
            self.resent.append(Resent(timestamp, signature, what, count))
        elif len(self.arrivals) > REMEMBERED_REQUESTS:
            self.arrivals.popitem(last=False)
        return count

    def weigh(self, client: str, minute: int, weight: int) -> None:
        """Note what a request costs, by the address it came from and the minute of the exchange's clock."""
        key = (client, minute)
        self.weights[key] = self.weights.get(key, 0) + weight

    @property
    def most_weight(self) -> int:
        """The most that any address has used in a minute."""
        return max(self.weights.values(), default=0)

    def out_of_turn(self, epoch: Callable[[str], int | None]) -> list[Order]:
        """Orders accepted after one of a later epoch; `epoch` reads it from a client id, None where there is none."""
        found: list[Order] = []
        latest: int | None = None
        for order in self.orders.values():
            own = epoch(order.client_id)
            if own is not None and latest is not None and own < latest:
                found.append(order)
            elif own is not None:
                latest = own
        return found

    def with_client_id(self, account: str, client_id: str) -> Order | None:
        """The newest order with this client id: ids may be used again after the order has ended."""
        found = self.by_client_id.get((account, client_id))
        return found[-1] if found else None
