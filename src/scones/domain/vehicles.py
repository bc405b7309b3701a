"""Vehicles: what each class of vehicle may deliver. Standard library only: the Dispatch function contains this file."""

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from difflib import get_close_matches
from types import MappingProxyType

from scones.domain.decision import VEHICLES
from scones.domain.errors import SettingsError

MAX_RULES_BYTES = 3500
"""The maximum length of all rules as JSON: a function's variables may have 4 KB together."""
_MAX_NUMBER = 100_000
_MAX_BAY_CHARACTERS = 20
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class VehicleLimits:
    """The limits of a vehicle: trip length, distance to the pick-up, load of an order and speed; and its loading bay.

    *stop_minutes* is the duration of a pick-up or a hand-over: a motorcycle has to be parked.
    """

    min_trip_km: float
    max_trip_km: float
    max_approach_km: float
    max_litres: float
    km_per_hour: float
    stop_minutes: float
    bay: str = ""

    def __str__(self) -> str:
        """The limits in one line."""
        trip = (
            f"trips of {self.min_trip_km:g} to {self.max_trip_km:g} km, pick-ups up to {self.max_approach_km:g} km away"
        )
        load = f"{self.max_litres:g} litres, {self.km_per_hour:g} km/h, {self.stop_minutes:g} min a stop"
        return f"{trip}, {load}{self.bay and f', bay {self.bay}'}"

    def minutes(self, kilometres: float) -> float:
        """The riding time for *kilometres*."""
        return 60 * kilometres / self.km_per_hour


USUAL_LIMITS: Mapping[str, VehicleLimits] = MappingProxyType(
    {
        "bicycle": VehicleLimits(0, 5, 3, 40, 15, 1, "A"),
        "cargo bike": VehicleLimits(0, 6, 3, 150, 13, 2, "A"),
        "scooter": VehicleLimits(1, 12, 6, 60, 25, 2, "B"),
        "motorcycle": VehicleLimits(2, 20, 8, 90, 30, 3, "B"),
        "car": VehicleLimits(2, 40, 12, 400, 28, 5, "D"),
        "van": VehicleLimits(2, 60, 15, 2500, 26, 6, "D"),
    }
)
"""The limits of these classes where the setting `dispatch` has no others."""

_RULES = tuple(field.name for field in fields(VehicleLimits))
_OPTIONAL: Mapping[str, float] = {"min_trip_km": 0, "stop_minutes": 2}
Table = Mapping[str, object]
"""The rules of one class, as a table of `scones.toml`; a class with defaults needs only those that differ."""


def vehicle_limits(classes: Sequence[str], tables: Mapping[str, Table]) -> dict[str, VehicleLimits]:
    """The limits of each of *classes* that has any: those of *tables*, completed by the defaults.

    A class is the same however its name is capitalised or hyphenated: `Cargo-Bike` is a cargo bike.

    Raises:
        SettingsError: a table is not allowed; the message names it.
    """
    given = _tables(tables)
    usual = {_plain(name): limits for name, limits in USUAL_LIMITS.items()}
    found = {}
    for name in classes:
        table, default = given.get(_plain(name)), usual.get(_plain(name))
        if table is not None or default:
            found[name] = _limits(name, table or {}, default)
    return found


def check_tables(tables: object) -> None:
    """Check the rules of all classes in *tables*, whatever that is, and whether the model knows these classes or not.

    Raises:
        SettingsError: a table is not allowed; the message names it.
    """
    if not isinstance(tables, Mapping):
        raise SettingsError(f"setting dispatch = {tables!r} must have a table for each class, such as [dispatch.van]")
    vehicle_limits([str(name) for name in tables], tables)


def require_known(classes: Sequence[str], tables: Mapping[str, Table]) -> None:
    """Check that the rules are those of *classes*, or of a class with defaults: another name is a typing error.

    Raises:
        SettingsError: a table has the name of no class.
    """
    known = {_plain(name): name for name in (*USUAL_LIMITS, *classes)}
    for name in tables:
        if _plain(name) not in known:
            near = [known[it] for it in get_close_matches(_plain(name), known, n=1)]
            meant = f"did you mean {_key(near[0])}? " if near else ""
            raise SettingsError(f"[{_key(name)}] names no class; {meant}the classes are {', '.join(classes)}")


def without_limits(classes: Sequence[str], limits: Mapping[str, VehicleLimits]) -> str:
    """Say which of *classes* have no limits, and what to write; empty if each has."""
    names = [name for name in classes if name not in limits]
    if not names:
        return ""
    needed = [name for name in _RULES if name not in _OPTIONAL]
    which = f"class {names[0]!r} has" if len(names) == 1 else f"classes {', '.join(map(repr, names))} have"
    return (
        f"{which} no dispatch rules, so no order goes to their couriers; give {_key(names[0])} a table in scones.toml, "
        f"[{_key(names[0])}] with {', '.join(needed[:-1])} and {needed[-1]}, then run: scones up"
    )


def write_limits(limits: Mapping[str, VehicleLimits]) -> str:
    """Write *limits* as JSON; `read_limits` reads them.

    Raises:
        SettingsError: they are too long for the Dispatch function.
    """
    text = json.dumps({name: astuple(each) for name, each in limits.items()}, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_RULES_BYTES:
        raise SettingsError(
            f"the dispatch rules of {len(limits)} classes have {len(text.encode()):,} bytes together, more than the "
            f"{MAX_RULES_BYTES:,} that a function can be given; shorten the names of classes and bays"
        )
    return text


def read_limits(text: str) -> dict[str, VehicleLimits]:
    """Read what `write_limits` wrote; of an empty text, the limits of bicycles and motorcycles."""
    if not text:
        return {name: USUAL_LIMITS[name] for name in VEHICLES}
    return {name: VehicleLimits(*each) for name, each in json.loads(text).items()}


def _plain(name: str) -> str:
    """The name of a class without what does not tell classes apart: case, hyphens, forms of Unicode."""
    return " ".join(re.sub(r"[-_]", " ", unicodedata.normalize("NFKC", name).casefold()).split())


def _key(name: str) -> str:
    return f"dispatch.{name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)}"


def _tables(tables: Mapping[str, Table]) -> dict[str, Table]:
    found: dict[str, str] = {}
    for name, table in tables.items():
        if not isinstance(name, str) or not _plain(name):
            raise SettingsError(f"setting dispatch has rules for {name!r}, which is no name of a class")
        if not isinstance(table, Mapping):
            raise SettingsError(
                f"{_key(name)} = {table!r} must be a table, such as [{_key(name)}] with max_trip_km = 8"
            )
        if (same := found.setdefault(_plain(name), name)) != name:
            raise SettingsError(f"[{_key(same)}] and [{_key(name)}] are the same class; keep one of them")
    return {plain: tables[name] for plain, name in found.items()}


def _limits(name: str, table: Table, default: VehicleLimits | None) -> VehicleLimits:
    for rule, value in table.items():
        if rule not in _RULES:
            near = get_close_matches(str(rule), _RULES, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise SettingsError(f"[{_key(name)}] has no rule {rule!r}; {meant}the rules are {', '.join(_RULES)}")
        _check(f"{_key(name)}.{rule}", rule, value)
    values = {**(asdict(default) if default else _OPTIONAL), **table}
    if missing := [rule for rule in _RULES if rule not in values]:
        raise SettingsError(f"[{_key(name)}] lacks {', '.join(missing)}; class {name!r} has no defaults")
    limits = VehicleLimits(**values)
    if limits.min_trip_km > limits.max_trip_km:
        raise SettingsError(
            f"[{_key(name)}] allows no trip: min_trip_km = {limits.min_trip_km:g} is above "
            f"max_trip_km = {limits.max_trip_km:g}"
        )
    return limits


def _check(where: str, rule: str, value: object) -> None:
    if rule == "bay":
        if not isinstance(value, str) or not 1 <= len(value.strip()) <= _MAX_BAY_CHARACTERS or not value.isprintable():
            raise SettingsError(
                f"{where} = {value!r} must be the name of a bay, of 1 to {_MAX_BAY_CHARACTERS} characters"
            )
        return
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if rule in _OPTIONAL:
        least, enough = "of at least 0", number >= 0
    elif rule == "km_per_hour":
        least, enough = "of at least 1", number >= 1
    else:
        least, enough = "above 0", number > 0
    if not enough or number > _MAX_NUMBER:
        raise SettingsError(f"{where} = {value!r} must be a number {least} and at most {_MAX_NUMBER:,}")
