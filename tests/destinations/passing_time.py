"""Seconds that pass only when somebody waits, or a test says so: for what is told a clock and a way to sleep."""


class Time:
    """`now` counts seconds; `slept` are the waits, in order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds
