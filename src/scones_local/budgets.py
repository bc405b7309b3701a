"""CloudFormation's budgets, kept in the emulator's own store; what is spent here is nothing, so none ever rings."""

import json

from ministack.services import budgets
from ministack.services.cloudformation import provisioners

from scones_local.wire import Json, Reply


def mount() -> None:
    """Register the type with ministack's CloudFormation."""
    provisioners._RESOURCE_HANDLERS["AWS::Budgets::Budget"] = {"create": create, "update": update, "delete": delete}


def create(_logical_id: str, props: Json, _stack: str) -> tuple[str, Json]:
    """Create the budget; Ref is its name."""
    _done(budgets._create_budget({**props, "NotificationsWithSubscribers": _typed(props)}))
    return props["Budget"]["BudgetName"], {}


def update(name: str, old: Json, new: Json, stack: str) -> tuple[str, Json]:
    """Make it anew: nothing was spent that could be forgotten."""
    delete(name, old)
    return create(name, new, stack)


def delete(name: str, _props: Json) -> None:
    """Delete the budget; what is gone already stays gone."""
    budgets._delete_budget({"BudgetName": name})


def _typed(props: Json) -> list[Json]:
    """Notifications with their thresholds as numbers; templates may write them as text."""
    return [
        {**entry, "Notification": {**entry["Notification"], "Threshold": float(entry["Notification"]["Threshold"])}}
        for entry in props.get("NotificationsWithSubscribers") or []
    ]


def _done(reply: Reply) -> None:
    status, _, body = reply
    if status >= 300:
        raise ValueError(json.loads(body).get("message", "the budget was refused"))
