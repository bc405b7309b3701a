"""Dispatch rules of each class: defaults, the user's tables, and every way in which a table can be wrong."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.config.settings import Settings, load, merge
from scones.domain.errors import SettingsError
from scones.domain.vehicles import (
    MAX_RULES_BYTES,
    USUAL_LIMITS,
    VehicleLimits,
    read_limits,
    require_known,
    vehicle_limits,
    without_limits,
    write_limits,
)

WHOLE: Mapping[str, Any] = {"max_trip_km": 9, "max_approach_km": 4, "max_litres": 70, "km_per_hour": 20, "bay": "E"}
"""All rules that a class without defaults needs."""


def test_the_usual_classes_have_rules_without_any_setting() -> None:
    """Bicycle, cargo bike, scooter, motorcycle, car and van."""
    names = ("bicycle", "cargo bike", "scooter", "motorcycle", "car", "van")
    assert vehicle_limits(names, {}) == dict(USUAL_LIMITS)
    assert without_limits(names, USUAL_LIMITS) == ""


@pytest.mark.parametrize("name", ["Cargo Bike", "cargo-bike", "CARGO_BIKE", " cargo  bike", "cargo\u00a0bike"])
def test_a_class_is_known_however_its_folder_is_spelt(name: str) -> None:
    """Case, hyphens, underscores and spaces do not tell classes apart, in the data or in the settings."""
    assert vehicle_limits([name], {}) == {name: USUAL_LIMITS["cargo bike"]}
    assert vehicle_limits(["cargo bike"], {name: {"bay": "Z"}})["cargo bike"].bay == "Z"


def test_a_table_changes_what_it_names_and_keeps_the_other_defaults(tmp_path: Path) -> None:
    """In the file as a table of each class; in the environment as JSON."""
    (tmp_path / "scones.toml").write_text('[dispatch.van]\nmax_trip_km = 80\n[dispatch."Fahrra\u0308der"]\nbay = "F"\n'
        "max_trip_km = 4\nmax_approach_km = 2.5\nmax_litres = 30\nkm_per_hour = 14\n")  # fmt: skip
    found = vehicle_limits(("van", "Fahrr\u00e4der"), load({}, {}, tmp_path).dispatch)
    assert found == {
        "van": VehicleLimits(2, 80, 15, 2500, 26, 6, "D"),
        "Fahrr\u00e4der": VehicleLimits(0, 4, 2.5, 30, 14, 2, "F"),
    }
    by_variable = load({}, {"SCONES_DISPATCH": '{"van": {"bay": "X"}}'}, tmp_path)
    assert vehicle_limits(["van"], by_variable.dispatch)["van"].bay == "X"


def test_the_example_of_the_documentation_is_allowed() -> None:
    """The tables in docs/dispatch.md, as they are."""
    page = (Path(__file__).parents[2] / "docs" / "dispatch.md").read_text("utf-8")
    tables = tomllib.loads(page.split("```toml\n")[1].split("```")[0])["dispatch"]
    found = vehicle_limits(("van", "Delivery Robot"), merge(Settings(), {"dispatch": tables}, "a page").dispatch)
    assert (found["van"].max_trip_km, found["Delivery Robot"].bay) == (80, "R")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (3, "a table for each class"),
        ("van", "must be JSON, or tables in scones.toml"),
        ("[1]", "a table for each class"),
        ({"van": 3}, r"dispatch\.van = 3 must be a table"),
        ({"": {}}, "no name of a class"),
        ({"van": {"max_km": 3}}, "has no rule 'max_km'; did you mean max_trip_km"),
        ({"van": {"max_trip_km": -1}}, r"dispatch\.van\.max_trip_km = -1 must be a number above 0"),
        ({"van": {"max_trip_km": float("nan")}}, "max_trip_km = nan must be a number"),
        ({"van": {"max_trip_km": float("inf")}}, "max_trip_km = inf must be a number"),
        ({"van": {"max_trip_km": 10**400}}, "at most 100,000"),
        ({"van": {"max_trip_km": "9"}}, "max_trip_km = '9' must be a number"),
        ({"van": {"max_trip_km": True}}, "max_trip_km = True must be a number"),
        ({"van": {"max_litres": 0}}, "max_litres = 0 must be a number above 0"),
        ({"van": {"km_per_hour": 0.0}}, "km_per_hour = 0.0 must be a number of at least 1"),
        ({"van": {"stop_minutes": -0.5}}, "stop_minutes = -0.5 must be a number of at least 0"),
        ({"van": {"bay": ""}}, "bay = '' must be the name of a bay"),
        ({"van": {"bay": 3}}, "bay = 3 must be the name of a bay"),
        ({"van": {"bay": "a\nb"}}, "must be the name of a bay"),
        ({"van": {"min_trip_km": 61}}, "allows no trip: min_trip_km = 61 is above max_trip_km = 60"),
        ({"Van": {}, "van": {}}, r"\[dispatch\.Van\] and \[dispatch\.van\] are the same class"),
        ({"a b": {"bay": "A"}, "A-B": {}}, "are the same class"),
        ({"tram": {}}, r"\[dispatch\.tram\] lacks max_trip_km, max_approach_km, max_litres, km_per_hour, bay"),
        ({"\u8eca \U0001f6f5": {"bay": "A"}}, r'\[dispatch\."\u8eca .*"\] lacks'),
    ],
)
def test_rules_that_are_not_allowed_are_refused_in_words(tables: object, message: str) -> None:
    """Whatever a file or a variable can hold, the message names the class, the rule and what is allowed."""
    with pytest.raises(SettingsError, match=message):
        merge(Settings(), {"dispatch": tables}, "scones.toml")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda it: st.dictionaries(st.text(), it)))
def test_no_value_of_the_setting_is_an_error_of_ours(value: object) -> None:
    """It is accepted, or refused as a setting."""
    try:
        merge(Settings(), {"dispatch": value}, "a test")
    except SettingsError:
        return


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bicycel", r"\[dispatch\.bicycel\] names no class; did you mean dispatch\.bicycle\?"),
        ("tram", "names no class"),
    ],
)
def test_rules_for_no_class_are_a_typing_error(name: str, message: str) -> None:
    """They would have no effect, and the class that was meant would keep its defaults."""
    with pytest.raises(SettingsError, match=message):
        require_known(("bicycle", "motorcycle"), {name: WHOLE})
    require_known(("bicycle", name), {name: WHOLE, "van": {}})


def test_classes_without_rules_are_named_with_what_to_write() -> None:
    """A name that TOML does not take as it is, is quoted."""
    assert without_limits(["bicycle", "tram"], USUAL_LIMITS).startswith(
        "class 'tram' has no dispatch rules, so no order"
    )
    assert "[dispatch.tram] with max_trip_km" in without_limits(["bicycle", "tram"], USUAL_LIMITS)
    assert '[dispatch."H\u00e4nger 2"]' in without_limits(["H\u00e4nger 2", "tram"], {})


def test_twenty_classes_reach_the_function_and_come_back() -> None:
    """Every number and name stays; too many long names are refused in words."""
    names = [f"vehicle type {number}" for number in range(20)]
    found = vehicle_limits(names, {name: {**WHOLE, "max_trip_km": 9.25} for name in names})
    assert read_limits(write_limits(found)) == found
    assert len(found) == 20
    longest = vehicle_limits(
        [f"{n:02}{'n' * 100}" for n in range(40)], {f"{n:02}{'n' * 100}": WHOLE for n in range(40)}
    )
    with pytest.raises(
        SettingsError, match=rf"more than the {MAX_RULES_BYTES:,} that a function can be given; shorten"
    ):
        write_limits(longest)
