"""``inlineAuthz``: the rule that decides."""

from __future__ import annotations

from vrata.model.middleware.inline_authz import InlineAuthz
from vrata.proxy.explain.circumstances import NEEDS_BODY, Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.middleware.inline_authz import deciding_rule, denial_of, rules_of
from vrata.proxy.middleware.stage import Place


def effect(settings: InlineAuthz, place: Place, circumstances: Circumstances) -> Effect:
    """Ask the rules."""
    rules = rules_of(settings)
    index = deciding_rule(rules, 0, circumstances.request)
    if index == len(rules):
        allows, said, details = settings.default_action == "allow", "no rule is true", {"decidedBy": "defaultAction"}
    else:
        rule = rules[index]
        text = rule.condition.text
        details = {"decidedBy": f"rules[{index}]", "expression": text}
        if rule.waits(circumstances.request):
            reason = f"rules[{index}] {NEEDS_BODY}"
            assumption = f'"{place.name}" allows the request, which {NEEDS_BODY}'
            return Effect(f"not known: {reason}", details | {"unknown": reason}, assumption=assumption)
        allows, said = rule.allows, f"rules[{index}] is true: {text}"
    return Effect(
        said if not allows else f"allows it: {said}",
        details | {"allows": allows},
        None if allows else denial_of(settings),
    )
