"""What holds for whatever a client sends."""

from __future__ import annotations

from collections.abc import Sequence

from tests.robustness.differential import Differential, Outcome
from tests.robustness.message import Ending
from tests.robustness.response_case import ResponseCase, relayed
from tests.robustness.response_differential import ResponseDifferential, ResponseOutcome
from tests.robustness.response_readers import Answer
from tests.robustness.scripted_upstream import Then

REFUSALS = frozenset({400, 414, 417, 431, 501, 505})
"""Statuses of answers after which the connection ends."""


def assert_consistent(differential: Differential, data: bytes, pieces: Sequence[bytes]) -> Outcome:
    """All readers agree on what comes out, each message has one answer, and *pieces* make no difference to *data*."""
    whole = differential.outcome([data])
    _assert_one_answer_each(whole)
    divided = differential.outcome(pieces)
    messages, answers = list(whole.messages), [answer.status for answer in whole.answers]
    statuses = [answer.status for answer in divided.answers]
    if statuses and statuses[-1] == 404 and divided.answers[-1].values(b"connection") == [b"close"]:
        # No route has this target, which was known before all of the body was there: what follows is not looked at.
        del statuses[-1], answers[len(statuses) :], messages[len(divided.messages) :]
    assert list(divided.messages) == messages
    assert statuses == answers
    return whole


def _assert_one_answer_each(found: Outcome) -> None:
    """The answers are those to the messages, in order; the proxy's own may come between them, a refusal only last."""
    messages = iter(found.messages)
    assert len(found.unfinished) <= 1
    for place, answer in enumerate(found.answers):
        assert answer.ending is Ending.WHOLE
        if answer.status == 200:
            message = next(messages)
            content = b"%b %b %d" % (message.method, message.target, len(message.content))
            assert answer.content == (b"" if message.method == b"HEAD" else content)
        elif answer.status in REFUSALS:
            assert place == len(found.answers) - 1
            assert answer.values(b"connection") == [b"close"]
        else:
            assert answer.status == 404  # a target that no route has
    assert next(messages, None) is None, "a message without an answer"


def assert_response_consistent(
    differential: ResponseDifferential, data: bytes, method: bytes, pieces: Sequence[bytes]
) -> str:
    """All readers agree on what the client gets, which is what the backend said, and the next client gets its own.

    Returns what became of it: ``relayed``, ``refused`` or ``cut``.
    """
    case = ResponseCase("generated", "", data, relayed(), Then.CLOSE, method)
    whole = differential.outcome(case, [data])
    _assert_one_response(whole)
    answer = whole.readings["h11"]
    if answer.status == 502 and (b'"connection_reset"' in answer.content or method == b"HEAD"):
        fate = "refused"
    elif answer.ending is Ending.WHOLE:
        fate = "relayed"
        for name, original in differential.readings_of_the_original(case).items():
            if original.ending is Ending.WHOLE and not (name == "nginx" and original.status == 502):
                assert _seen(original) == _seen(answer), name
    else:
        fate = "cut"
    divided = differential.outcome(case, pieces)
    _assert_one_response(divided)
    if fate == "relayed":
        assert _seen(divided.readings["h11"]) == _seen(answer)
    return fate


def _assert_one_response(found: ResponseOutcome) -> None:
    assert (found.following.status, found.following.content, found.following.rest) == (200, b"/next", b"")
    reference = found.readings["h11"]
    assert reference.ending is not Ending.REFUSED
    for name, reading in found.readings.items():
        assert not reading.rest, name
        if name == "nginx" and reference.informational:
            continue  # nginx takes no 1xx from a backend
        if reference.ending is Ending.WHOLE:
            assert (*_seen(reading), reading.ending) == (*_seen(reference), Ending.WHOLE), name
        else:
            assert reading.ending is not Ending.WHOLE or reading.status == 502, name


def _seen(answer: Answer) -> tuple[int, bytes]:
    return answer.status, answer.content
