"""Methods in words: display names for figures and sentences, and one sentence about each, composed from their profile
sets so that none can be out of date. Ids of params.yaml appear in tables only.
"""

from __future__ import annotations

from pipeline.report.analysis.configurations import CRITERION_NAMES, MASK_NAMES
from pipeline.report.analysis.plan import ASSIGNED, Method, Plan
from wina_amp.names import ACTIVATION, ALLOCATIONS, CRITERIA, GRADIENT, MASKS, SCHEMES, THRESHOLD, UNIFORM

GROUPS = {ACTIVATION: "clusters", GRADIENT: "gradient clusters"}


def display_name(plan: Plan, method: Method) -> str:
    """ "WINA + greedy, routed clusters"; the id follows in brackets only where two methods would share a name."""
    name = _name(plan, method)
    is_shared = sum(_name(plan, other) == name for other in plan.methods) > 1
    return f"{name} ({method.name})" if is_shared else name


def groups_word(method: Method) -> str:
    """What the groups of a method are: "clusters", "gradient clusters", "random groups", "groups by task"."""
    if method.is_control:
        return "random groups"
    return GROUPS.get(method.scheme, f"groups by {method.scheme}")


def describe(plan: Plan, method: Method) -> str:
    """One sentence about a method."""
    if method.is_dense:
        return "The unmodified model; every other method is compared with it."
    scoring, allocation = f"{CRITERIA[method.criterion]} and {MASKS[method.mask]}", ALLOCATIONS[method.allocation]
    return f"Scores features by {scoring}; {SCHEMES[method.scheme]}; {allocation}{_source(plan, method)}."


def role(plan: Plan, method: Method) -> str:
    """The role of a method in the comparison."""
    if method.is_dense:
        return "reference"
    if method.name == plan.baseline:
        return "baseline"
    if method.is_pooled:
        return "pooled"
    if method.is_control:
        return "control"
    if method.is_routed:
        return "routed"
    return "oracle groups" if method.is_learned else "label groups"


def _name(plan: Plan, method: Method) -> str:
    if method.is_dense:
        return "Dense"
    name = CRITERION_NAMES[method.criterion]
    name = name[:1].upper() + name[1:]
    if method.allocation != UNIFORM:
        name += f" + {method.allocation}"
    if method.mask != THRESHOLD:
        name += f", {MASK_NAMES[method.mask]}"
    if method.is_pooled:
        return name
    routed = "benefit-routed " if method.groups in plan.benefit_routers else "routed "
    groups = f"{'' if method.is_control else routed if method.is_routed else 'known '}{groups_word(method)}"
    return f"{name}, {'thresholds by ' if method.takes_allocation else ''}{groups}"


def _source(plan: Plan, method: Method) -> str:
    if method.is_pooled:
        return ""
    if method.groups in plan.benefit_routers:
        return f"; a benefit router ({method.groups}) chooses the profile of best predicted benefit, or the pooled one"
    if method.groups != ASSIGNED:
        return f"; the {method.groups} router chooses the group from the prompt"
    if method.is_learned:
        return "; the group comes from a dense run over the prompt (oracle groups: an upper bound, not deployable)"
    return "; the group is given with the sample"
