"""The fence: from a fenced step only a code escapes, whatever happened inside, and nothing is chained to it."""

import pickle
import traceback

import pytest

import flows  # noqa: F401
from flows.fence import Stopped, fenced
from nestaudience.errors import MustStop, NeedsFix, NotKnown, TryAgain

SECRET = "anna.kanarie@example.se"


class Odd(Exception):
    """A foreign exception that says everything it knows, and cannot be pickled."""

    def __init__(self) -> None:
        super().__init__(SECRET, lambda: SECRET)


def raise_(error: Exception) -> None:
    raise error


def chained() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as first:
        raise ValueError(SECRET) from first


@pytest.mark.parametrize("error", [ValueError(SECRET), Odd(), ExceptionGroup(SECRET, [OSError(SECRET)]), UnicodeError(SECRET)])
def test_a_foreign_exception_leaves_as_its_type(error: Exception) -> None:
    with pytest.raises(Stopped) as caught:
        fenced(raise_)(error)
    assert caught.value.code == "defect"
    assert type(error).__name__ in str(caught.value)
    _says_nothing(caught.value)


def test_a_chain_is_cut() -> None:
    with pytest.raises(Stopped) as caught:
        fenced(chained)()
    _says_nothing(caught.value)


@pytest.mark.parametrize("kind", [NeedsFix, TryAgain, NotKnown, MustStop])
def test_an_error_of_ours_keeps_its_code_and_remedy(kind: type[MustStop]) -> None:
    try:
        raise KeyError(SECRET)
    except KeyError:
        ours = kind("store_busy", "store.path", "run again")
        ours.__context__ = KeyError(SECRET)
    with pytest.raises(Stopped) as caught:
        fenced(raise_)(ours)
    assert (caught.value.code, caught.value.remedy) == ("store_busy", kind("a", "b", "c").remedy)
    assert str(caught.value).startswith("store_busy at store.path (")
    _says_nothing(caught.value)


def test_a_fence_inside_a_fence_changes_nothing() -> None:
    with pytest.raises(Stopped) as caught:
        fenced(fenced(raise_))(NeedsFix("store_missing", "store.path", "name it"))
    assert caught.value.code == "store_missing"
    _says_nothing(caught.value)


def test_results_pass() -> None:
    assert fenced(lambda a, *, b: [a, b])(1, b=2) == [1, 2]
    assert fenced(lambda: None)() is None


def test_an_interruption_is_no_error() -> None:
    with pytest.raises(KeyboardInterrupt):
        fenced(raise_)(KeyboardInterrupt())  # type: ignore[arg-type]


def _says_nothing(error: BaseException) -> None:
    """Not in its text, its pickle, its arguments, nor in anything that a traceback prints."""
    assert error.__cause__ is None
    assert error.__context__ is None
    told = "".join(traceback.format_exception(error)) + repr(error) + str(error.args) + repr(vars(error))
    assert SECRET not in told
    assert SECRET.encode() not in pickle.dumps(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 (made here)
