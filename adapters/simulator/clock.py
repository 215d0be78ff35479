"""How a market's calendar runs against the exchange's clock: at a speed, or not at all."""


class MarketClock:
    """Translates between exchange time and market time, both in UTC milliseconds."""

    def __init__(self, speed: float) -> None:
        assert speed > 0, "a market cannot run backwards; freeze() makes it stand still"
        self.speed = speed
        self.frozen = False
        self._market_zero_ms = 0
        self._clock_zero_ms = 0

    def begin(self, now_ms: int, market_ms: int) -> None:
        """Say that this is now, here and there."""
        self._clock_zero_ms = now_ms
        self._market_zero_ms = market_ms

    def market_ms(self, now_ms: int) -> int:
        """The market's calendar at a time of the exchange's clock."""
        if self.frozen:
            return self._market_zero_ms
        return self._market_zero_ms + int((now_ms - self._clock_zero_ms) * self.speed)

    def clock_ms(self, market_ms: int) -> int:
        """The exchange's clock when the market's calendar gets to a time, rounded up."""
        ahead = market_ms - self._market_zero_ms
        return self._clock_zero_ms - int(-ahead // self.speed)

    def shift(self, ms: int) -> None:
        """Note that the exchange's clock was stepped by so much."""
        self._clock_zero_ms += ms

    def freeze(self, now_ms: int) -> None:
        """Stop the calendar."""
        self._market_zero_ms = self.market_ms(now_ms)
        self._clock_zero_ms = now_ms
        self.frozen = True

    def thaw(self, now_ms: int) -> None:
        """Let the calendar go on from where it stopped."""
        if self.frozen:
            self._clock_zero_ms = now_ms
            self.frozen = False
