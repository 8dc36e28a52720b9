"""The retrieval of keys, in a time that the test moves and with answers that it gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tests.support.manual_loop import ManualLoop
from tests.support.tokens import Issuer, jwks
from vrata.net.deadlines import DeadlineSweeper
from vrata.policy.jwt.refresh import (
    LONGEST_PAUSE,
    MOST_ASKED,
    PERIOD,
    SHORTEST_INTERVAL,
    START_SPREAD,
    RefreshSchedule,
)
from vrata.proxy.callout.answer import Answer, CalloutFailure
from vrata.proxy.callout.call import OnAnswer
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.contracts import FailureClass
from vrata.proxy.middleware.token_keys import MOST_WAITING, InlineKeys, RemoteKeys
from vrata.wire.http1.head import parse_response_head

FIRST, SECOND = Issuer("ES256", kid="a"), Issuer("ES256", kid="b", number=1)
GOOD = jwks(FIRST.jwk)


class Retrieval:
    """One call of the keys for their document."""

    def __init__(self, at: float, on_answer: OnAnswer) -> None:
        self.at = at
        self.cancelled = False
        self._is_answered = False
        self._on_answer = on_answer

    def cancel(self) -> None:
        self.cancelled = True

    @property
    def is_over(self) -> bool:
        return self.cancelled or self._is_answered

    def answer(self, body: bytes, status: int = 200) -> None:
        head = parse_response_head(b"HTTP/1.1 %d \r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
        assert head is not None
        self._is_answered = True
        self._on_answer(Answer(head, body))

    def fail(self) -> None:
        self._is_answered = True
        self._on_answer(CalloutFailure(FailureClass.TIMEOUT, "no answer within the limit of the call"))


class Patient:
    """Waits for keys."""

    def __init__(self, setting: Setting) -> None:
        self.released_at: list[float] = []
        self._setting = setting

    def release(self) -> None:
        self.released_at.append(self._setting.loop.time())


class Setting:
    """Remote keys, and what is around them."""

    destination_id = "issuer"

    def __init__(self, *, is_in_force: bool = True, chance: float = 0.0) -> None:
        self.loop = ManualLoop()
        self.is_in_force = is_in_force
        self.calls: list[Retrieval] = []
        self.sweeper = DeadlineSweeper(self.loop.as_event_loop())
        self.sweeper.start()
        schedule = RefreshSchedule(lambda: chance)
        self.keys = RemoteKeys(
            self, self.sweeper, self.loop.time, self.loop.call_soon, schedule, "https://issuer.example"
        )

    def follow(self, destinations: Mapping[str, ServiceDestination]) -> None:
        raise AssertionError("no plan is made here")

    def is_known(self) -> bool:
        return self.is_in_force

    def retrieve(self, on_answer: OnAnswer) -> Retrieval:
        self.calls.append(Retrieval(self.loop.time(), on_answer))
        return self.calls[-1]

    def patient(self) -> Patient:
        patient = Patient(self)
        assert self.keys.wait(patient)
        return patient

    @property
    def kids(self) -> list[str | None]:
        return [key.kid for key in self.keys.current.keys]


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_keys_are_retrieved_at_once(setting: Setting) -> None:
    (call,) = setting.calls
    assert setting.kids == []
    call.answer(GOOD)
    assert setting.kids == ["a"]


def test_keys_are_retrieved_when_the_plan_comes_into_force() -> None:
    setting = Setting(is_in_force=False)
    setting.loop.advance(20)
    assert setting.calls == []
    setting.is_in_force = True
    setting.loop.advance(0.1)
    setting.calls[0].answer(GOOD)
    setting.loop.advance(10)
    assert len(setting.calls) == 1


def test_a_request_may_be_faster() -> None:
    setting = Setting(is_in_force=False)
    patient = setting.patient()
    setting.calls[0].answer(GOOD)
    assert len(patient.released_at) == 1
    # It was the first retrieval, which tokens need not ask for.
    setting.patient()
    assert len(setting.calls) == 2


def test_a_destination_that_never_comes_is_asked_for_after_a_while() -> None:
    setting = Setting(is_in_force=False)
    setting.loop.advance(61)
    with capture_logs() as lines:
        setting.calls[0].fail()
    assert [line["event"] for line in lines] == ["key set not retrieved"]


def test_keys_are_retrieved_every_period(setting: Setting) -> None:
    setting.calls[0].answer(GOOD)
    for number in range(1, 4):
        setting.loop.advance(PERIOD - 1)
        assert len(setting.calls) == number
        setting.loop.advance(1.1)
        assert len(setting.calls) == number + 1
        setting.calls[-1].answer(GOOD)
    setting.loop.advance(PERIOD + 0.1)
    setting.calls[-1].answer(jwks(SECOND.jwk))
    assert setting.kids == ["b"]


def test_the_same_document_leaves_the_keys_as_they_are(setting: Setting) -> None:
    setting.calls[0].answer(GOOD)
    before = setting.keys.current
    setting.loop.advance(PERIOD + 1)
    setting.calls[1].answer(GOOD)
    assert setting.keys.current is before


def test_an_empty_set_takes_all_keys_away(setting: Setting) -> None:
    setting.calls[0].answer(GOOD)
    setting.loop.advance(PERIOD + 1)
    setting.calls[1].answer(jwks())
    assert setting.kids == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, GOOD),
        (404, GOOD),
        (204, b""),
        (201, GOOD),
        (302, GOOD),
        (200, b""),
        (200, b"<html>"),
        (200, b"{}"),
        (200, GOOD[:-3]),
        (0, b""),
    ],
)
def test_a_failure_keeps_the_keys_and_is_followed_by_other_tries(setting: Setting, status: int, body: bytes) -> None:
    setting.calls[0].answer(GOOD)
    setting.loop.advance(PERIOD + 1)
    began = setting.loop.time()
    with capture_logs() as lines:
        for _ in range(9):
            if status:
                setting.calls[-1].answer(body, status)
            else:
                setting.calls[-1].fail()
            setting.loop.advance(LONGEST_PAUSE + 1)
    assert setting.kids == ["a"]
    assert [line["event"] for line in lines] == ["key set not retrieved"] * 9
    assert {line["log_level"] for line in lines} == {"warning"}
    assert len(setting.calls) == 2 + 9
    pauses = [call.at - began - number * (LONGEST_PAUSE + 1) for number, call in enumerate(setting.calls[2:])]
    expected = [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert all(0 <= pause - wanted <= 0.11 for pause, wanted in zip(pauses, expected, strict=True)), pauses
    setting.calls[-1].answer(jwks(SECOND.jwk))
    assert setting.kids == ["b"]


def test_a_slow_retrieval_is_not_joined_by_another(setting: Setting) -> None:
    setting.loop.advance(PERIOD * 3)
    assert len(setting.calls) == 1


def test_requests_wait_for_the_first_retrieval(setting: Setting) -> None:
    patients = [setting.patient() for _ in range(3)]
    assert len(setting.calls) == 1
    assert [patient.released_at for patient in patients] == [[], [], []]
    setting.calls[0].answer(GOOD)
    assert [len(patient.released_at) for patient in patients] == [1, 1, 1]


def test_unknown_keys_have_them_retrieved_but_rarely(setting: Setting) -> None:
    setting.calls[0].answer(GOOD)
    refused = 0
    for _ in range(1000):
        patient = Patient(setting)
        if setting.keys.wait(patient):
            setting.calls[-1].answer(GOOD)
            assert len(patient.released_at) == 1
        else:
            refused += 1
        setting.loop.advance(0.1)
    moments = [call.at for call in setting.calls[1:]]
    assert moments[MOST_ASKED - 1] - moments[0] < 1
    later = moments[MOST_ASKED:]
    assert all(SHORTEST_INTERVAL - 0.2 < after - before < SHORTEST_INTERVAL + 0.2 for before, after in pairwise(later))
    assert len(moments) == MOST_ASKED + 9
    assert refused == 1000 - len(moments)


def test_a_rotation_is_noticed_soon_after_another(setting: Setting) -> None:
    setting.calls[0].answer(GOOD)
    for _ in range(MOST_ASKED):
        setting.patient()
        setting.calls[-1].answer(jwks(SECOND.jwk))
        setting.loop.advance(1)
    assert not setting.keys.wait(Patient(setting))
    # Whoever comes while keys are retrieved, for whatever reason, waits for these.
    setting.loop.advance(PERIOD)
    count = len(setting.calls)
    assert not setting.calls[-1].is_over
    patient = setting.patient()
    assert len(setting.calls) == count
    setting.calls[-1].answer(GOOD)
    assert len(patient.released_at) == 1


def test_workers_begin_at_different_times() -> None:
    setting = Setting(is_in_force=False, chance=0.5)
    setting.loop.advance(20)
    setting.is_in_force = True
    setting.loop.advance(0.1)
    assert setting.calls == []
    setting.loop.advance(START_SPREAD / 2)
    assert len(setting.calls) == 1
    # Unless a request needs them at once.
    setting = Setting(chance=0.5)
    assert setting.calls == []
    patient = setting.patient()
    setting.calls[0].answer(GOOD)
    assert len(patient.released_at) == 1
    setting.loop.advance(START_SPREAD)
    assert len(setting.calls) == 1


def test_unknown_keys_add_little_to_an_outage(setting: Setting) -> None:
    for _ in range(3000):
        patient = Patient(setting)
        is_waiting = setting.keys.wait(patient)
        assert is_waiting == (not setting.calls[-1].is_over)
        if is_waiting:
            setting.calls[-1].fail()
            assert len(patient.released_at) == 1
        setting.loop.advance(0.1)
    # In 300 seconds: those that tokens ask for, and those that would be there without any.
    assert len(setting.calls) <= 300 / SHORTEST_INTERVAL + MOST_ASKED + 12


def test_many_wait_for_one_retrieval(setting: Setting) -> None:
    setting.calls[0].answer(GOOD)
    patients = [setting.patient() for _ in range(MOST_WAITING)]
    assert not setting.keys.wait(Patient(setting))
    assert len(setting.calls) == 2
    setting.calls[1].answer(jwks(SECOND.jwk))
    released = [len(patient.released_at) for patient in patients]
    # Not all in one turn of the loop, for which everything else would have to wait.
    assert 0 < sum(released) < 20
    assert released == sorted(released, reverse=True)
    setting.loop.settle()
    assert [len(patient.released_at) for patient in patients] == [1] * MOST_WAITING


def test_who_goes_away_waits_no_longer(setting: Setting) -> None:
    patients = [setting.patient() for _ in range(30)]
    setting.keys.forget(patients[0])
    setting.calls[0].answer(GOOD)
    setting.keys.forget(patients[29])
    setting.loop.settle()
    assert [len(patient.released_at) for patient in patients] == [0] + [1] * 28 + [0]


def test_a_request_that_comes_while_others_go_on_waits_for_the_next_retrieval(setting: Setting) -> None:
    patients = [setting.patient() for _ in range(30)]
    setting.calls[0].answer(GOOD)
    late = setting.patient()
    assert len(setting.calls) == 2
    setting.loop.settle()
    assert [len(patient.released_at) for patient in patients] == [1] * 30
    assert late.released_at == []
    setting.calls[1].fail()
    assert len(late.released_at) == 1


def test_who_is_closed_retrieves_nothing(setting: Setting) -> None:
    setting.keys.close()
    assert setting.calls[0].cancelled
    setting.loop.advance(PERIOD * 2)
    assert not setting.keys.wait(Patient(setting))
    assert len(setting.calls) == 1
    assert repr(setting.sweeper) == "<DeadlineSweeper 0 watched>"


def test_requests_that_wait_get_their_keys_after_the_end_as_well(setting: Setting) -> None:
    patient = setting.patient()
    setting.keys.close()
    assert not setting.calls[0].cancelled
    setting.calls[0].answer(GOOD)
    assert len(patient.released_at) == 1
    assert setting.kids == ["a"]
    setting.loop.advance(PERIOD * 2)
    assert len(setting.calls) == 1


def test_keys_of_the_settings() -> None:
    with capture_logs() as lines:
        keys = InlineKeys(GOOD.decode(), "https://issuer.example")
    assert [key.kid for key in keys.current.keys] == ["a"]
    assert [line["log_level"] for line in lines] == ["info"]


@pytest.mark.parametrize("text", ["no keys", '{"keys":[]}', '{"keys":[{"kty":"oct","k":"AAAA"}]}'])
def test_settings_without_keys_are_told_in_the_log(text: str) -> None:
    with capture_logs() as lines:
        keys = InlineKeys(text, "https://issuer.example")
    assert keys.current.keys == ()
    assert [line["log_level"] for line in lines] == ["warning"]


def test_of_many_keys_that_are_left_out_the_log_says_little() -> None:
    with capture_logs() as entries:
        InlineKeys(json.dumps({"keys": [0] * 50}), "https://issuer.test")
    (entry,) = entries
    assert entry["reasons"] == "; ".join(f"keys[{index}]: it is no object" for index in range(3))
