"""Being asked to end: the first signal only says so, the second does what it always did, and other threads are never asked."""

import os
import signal
import threading

import pytest

from nestaudience.interrupting import interruptible, interruption, never


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_does_what_it_did(number: signal.Signals) -> None:
    came: list[int] = []
    former = signal.signal(number, lambda sent, _: came.append(sent))
    mine = signal.getsignal(number)
    try:
        with interruptible() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), number)
            assert (interrupted(), came) == (True, [])
            os.kill(os.getpid(), number)
            assert came == [number]
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, former)


def test_handlers_are_put_back_when_nobody_asked() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with interruptible():
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_is_never_asked() -> None:
    answers: list[object] = []

    def work() -> None:
        with interruptible() as interrupted:
            answers.append(interrupted)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [never]
    assert not never()


def test_the_error_asks_for_another_try() -> None:
    error = interruption("writer")
    assert (error.code, error.where, error.exit_code) == ("interrupted", "writer", 3)
