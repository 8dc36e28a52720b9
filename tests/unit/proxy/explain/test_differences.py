from __future__ import annotations

from vrata.proxy.explain.differences import MOST_DIFFERENCES, differences


def test_what_differs_is_named_with_both_values() -> None:
    before = {"outcome": "redirect", "action": {"response": {"status": 301, "headers": [["a", "1"]]}}, "candidates": []}
    after = {"outcome": "redirect", "action": {"response": {"status": 308, "headers": [["a", "2"]]}}, "candidates": [1]}
    assert differences(before, after) == [
        {"path": "action.response.status", "before": 301, "after": 308},
        {"path": "action.response.headers[0][1]", "before": "1", "after": "2"},
    ]
    assert differences(before, before) == []


def test_what_is_not_there_is_null() -> None:
    assert differences({"group": {"id": "g"}}, {}) == [{"path": "group", "before": {"id": "g"}, "after": None}]
    assert differences({"match": {"path": "/a"}}, {"match": {"methods": ["GET"]}}) == [
        {"path": "match.path", "before": "/a", "after": None},
        {"path": "match.methods", "before": None, "after": ["GET"]},
    ]


def test_lists_of_different_length_differ_as_a_whole() -> None:
    assert differences({"assumptions": []}, {"assumptions": ["a"]}) == [
        {"path": "assumptions", "before": [], "after": ["a"]}
    ]


def test_each_middleware_is_compared_with_itself() -> None:
    one, two, three = ({"id": name, "effect": f"does {name}"} for name in ("one", "two", "three"))
    other = one | {"effect": "does nothing"}
    assert differences({"middlewares": [one, two]}, {"middlewares": [three, other, two]}) == [
        {"path": "middlewares[one].effect", "before": "does one", "after": "does nothing"},
        {"path": "middlewares[three]", "before": None, "after": three},
    ]
    assert differences({"middlewares": [one]}, {"middlewares": []}) == [
        {"path": "middlewares[one]", "before": one, "after": None}
    ]
    assert differences({"middlewares": [one, two]}, {"middlewares": [two, one]}) == [
        {"path": "middlewares in order", "before": ["one", "two"], "after": ["two", "one"]}
    ]
    assert differences({}, {"middlewares": [one]}) == [{"path": "middlewares", "before": None, "after": [one]}]


def test_there_is_an_end_to_it() -> None:
    before = {"match": dict.fromkeys(map(str, range(500)), 1)}
    after = {"match": dict.fromkeys(map(str, range(500)), 2)}
    assert len(differences(before, after)) == MOST_DIFFERENCES
