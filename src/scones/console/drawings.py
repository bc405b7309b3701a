"""Drawings: charts, the workflow's graph and the map of orders, as SVG that carries classes and no style of its own."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from scones.dispatch.orders import Courier, Order, Place
from scones.domain.decision import Outcome
from scones.domain.naming import from_iso8601
from scones.domain.text import exact_percent, plural

_WIDTH, _HEIGHT = 900, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 14, 28
OUTCOME_TONES = {
    Outcome.CLASSIFIED: "good",
    Outcome.BELOW_THRESHOLD: "unsure",
    Outcome.OUT_OF_DISTRIBUTION: "quiet",
    Outcome.UNREADABLE: "ink",
    Outcome.FAILED: "bad",
}


def _svg(width: float, height: float, label: str, parts: Iterable[Markup], extra: str = "") -> Markup:
    body = Markup("").join(parts)
    return Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}" class="drawing {}">{}</svg>').format(
        width, height, label, extra, body
    )


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(x, y, kind, anchor, words)


def _time(x: float, y: float, moment: datetime, form: str) -> Markup:
    """A time, in UTC until the page's script writes it in the user's zone."""
    pattern = "%H:%M" if form == "hour" else "%d %b %H:%M"
    return Markup(
        '<text x="{:.1f}" y="{:.1f}" class="axis" text-anchor="middle" data-time="{}" data-form="{}">{}</text>'
    ).format(x, y, moment.isoformat(), form, f"{moment:{pattern}}")


def hours_chart(counts: Mapping[str, Counter[str]]) -> Markup:
    """Stacked bars of the outcomes of each hour; *counts* maps `2026-11-30T07` to them."""
    tallest = max([1, *(count.total() for count in counts.values())])
    inner, step = _HEIGHT - _TOP - _BOTTOM, (_WIDTH - _LEFT - _RIGHT) / max(1, len(counts))
    parts = [_grid(tallest, inner)]
    for place, (hour, count) in enumerate(counts.items()):
        x, top = _LEFT + place * step, float(_TOP + inner)
        words = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in count.items()) or "no photos"
        bars = []
        for outcome, tone in OUTCOME_TONES.items():
            if height := inner * count[outcome] / tallest:
                top -= height
                bars.append(
                    Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="fill-{}"/>').format(
                        x + 1, top, max(1, step - 2), height, tone
                    )
                )
        title = Markup("<title>{}:00 UTC: {}</title>").format(hour.replace("T", " "), words)
        parts.append(Markup("<g>{}{}</g>").format(title, Markup("").join(bars)))
        if place % max(1, len(counts) // 8) == 0:
            parts.append(_time(x + step / 2, _HEIGHT - 8, from_iso8601(f"{hour}:00:00"), "hour"))
    return _svg(_WIDTH, _HEIGHT, f"Photos by the hour and outcome, at most {tallest:,} an hour", parts)


def _grid(tallest: float, inner: float) -> Markup:
    lines = [
        Markup('<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" class="rule"/>{}').format(
            _LEFT, _WIDTH - _RIGHT, y, y, _text(_LEFT - 8, y + 4, f"{tallest * share:,.3g}", "axis", "end")
        )
        for share in (0, 0.5, 1)
        for y in [_TOP + inner * (1 - share)]
    ]
    return Markup("").join(lines)


def line_chart(
    label: str,
    points: Sequence[tuple[datetime, float]],
    *,
    band: Sequence[tuple[float, float]] = (),
    line: tuple[float, str] | None = None,
    percent: bool = False,
) -> Markup:
    """A line over time, with the *band* of each point and a horizontal *line* with its name, such as the threshold.

    Points above the line are marked where there is no band. Each point can be chosen by its `data-place`.
    """
    edges = [value for pair in band for value in pair]
    values = [value for _, value in points] + edges + ([line[0]] if line else [])
    low, high = (min([0.5, *values]), 1.0) if percent else (min([0.0, *values]) * 1.1, max([*values, 1e-9]) * 1.1)
    first, last = points[0][0].timestamp(), points[-1][0].timestamp()
    inner = _HEIGHT - _TOP - _BOTTOM

    def x(moment: datetime) -> float:
        share = (moment.timestamp() - first) / (last - first) if last > first else 0.5
        return _LEFT + 8 + share * (_WIDTH - _LEFT - _RIGHT - 16)

    def y(value: float) -> float:
        return _TOP + inner * (1 - (value - low) / ((high - low) or 1))

    parts = []
    for share in (0, 0.5, 1):
        value = low + share * (high - low)
        words = f"{value:.0%}" if percent else f"{value:.3g}"
        parts.append(
            Markup('<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" class="rule"/>').format(
                _LEFT, _WIDTH - _RIGHT, y(value), y(value)
            )
        )
        parts.append(_text(_LEFT - 8, y(value) + 4, words, "axis", "end"))
    if band:
        forward = [(x(moment), y(high_end)) for (moment, _), (_, high_end) in zip(points, band, strict=True)]
        back = [(x(moment), y(low_end)) for (moment, _), (low_end, _) in zip(points, band, strict=True)][::-1]
        parts.append(Markup('<polygon points="{}" class="band"/>').format(_path([*forward, *back])))
    parts.append(
        Markup('<polyline points="{}" class="line"/>').format(_path([(x(at), y(value)) for at, value in points]))
    )
    if line:
        parts.append(
            Markup('<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" class="threshold"/>').format(
                _LEFT, _WIDTH - _RIGHT, y(line[0]), y(line[0])
            )
        )
        parts.append(_text(_LEFT + 6, y(line[0]) - 5, line[1], "axis"))
    for place, (moment, value) in enumerate(points):
        loud = line is not None and not band and value > line[0]
        parts.append(
            Markup(
                '<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="{}" data-place="{}"><title>{}</title></circle>'
            ).format(
                x(moment),
                y(value),
                6 if loud else 4,
                "fill-bad" if loud else "dot",
                place,
                _spoken(moment, value, percent=percent),
            )
        )
    ticks = dict.fromkeys((points[0][0], points[len(points) // 2][0], points[-1][0]))
    parts += [_time(min(max(x(moment), _LEFT + 40), _WIDTH - 50), _HEIGHT - 8, moment, "day") for moment in ticks]
    return _svg(_WIDTH, _HEIGHT, label, parts, "plot")


def _spoken(moment: datetime, value: float, *, percent: bool) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC: {f'{value:.1%}' if percent else f'{value:.3g}'}"


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def probability_bars(probabilities: Mapping[str, float], threshold: float) -> Markup:
    """One bar a class, with the threshold as a line across all."""
    height, left, right = 30, 150, 60
    span = 600 - left - right
    parts = []
    for place, (name, value) in enumerate(probabilities.items()):
        y = place * height + 4
        shown = name if len(name) <= 18 else f"{name[:17]}…"
        parts += [
            _text(left - 10, y + 15, shown, "label", "end"),
            Markup('<rect x="{}" y="{}" width="{}" height="18" class="empty"/>').format(left, y, span),
            Markup('<rect x="{}" y="{}" width="{:.1f}" height="18" class="fill-class-{}"/>').format(
                left, y, span * value, 1 + place % 6
            ),
            _text(left + span + 8, y + 15, f"{value:.1%}", "label"),
        ]
    bottom = len(probabilities) * height
    if threshold:
        x = left + span * threshold
        parts.append(Markup('<line x1="{:.1f}" x2="{:.1f}" y1="0" y2="{}" class="threshold"/>').format(x, x, bottom))
        parts.append(_text(x, bottom + 14, f"threshold {exact_percent(threshold)}", "axis", "middle"))
    said = ", ".join(f"{name} {value:.1%}" for name, value in probabilities.items())
    return _svg(600, bottom + 20, f"Probabilities: {said}; threshold {exact_percent(threshold)}", parts, "bars")


_BOX = (168, 34)
_STEP = (196, 62)


def workflow_graph(definition: Mapping[str, Any], states: Mapping[str, str]) -> Markup:
    """The state machine from top to bottom, each state in the color of what became of it in *states*."""
    rank, main = _ranks(definition), _main_way(definition)
    places: dict[str, tuple[float, float]] = {}
    taken: Counter[int] = Counter()
    for name in sorted(rank, key=lambda name: rank[name]):
        # The usual way goes straight down on the left; what follows from errors is beside it.
        column = 0 if name in main else 1 + taken[rank[name]]
        taken[rank[name]] += name not in main
        places[name] = (12 + column * _STEP[0], 10 + rank[name] * _STEP[1])
    parts = [
        _edge(places[name], places[target], taken=bool(states.get(name) and states.get(target)), caught=caught)
        for name, state in definition["States"].items()
        for target, caught in dict(_targets(state)).items()
        if name in places and target in places
    ]
    for name, (x, y) in places.items():
        status = states.get(name, "idle")
        words = f"{name}: {status if name in states else 'not entered'}"
        parts.append(
            Markup(
                '<g class="state {}" data-state="{}"><title>{}</title>'
                '<rect x="{}" y="{}" width="{}" height="{}" rx="9"/>{}</g>'
            ).format(status, name, words, x, y, *_BOX, _text(x + _BOX[0] / 2, y + 22, name, "label", "middle"))
        )
    width = max(x for x, _ in places.values()) + _BOX[0] + 12
    height = max(y for _, y in places.values()) + _BOX[1] + 10
    entered = ", ".join(f"{name} {status}" for name, status in states.items()) or "no state was entered yet"
    return _svg(width, height, f"Workflow: {entered}", parts, "graph")


def _main_way(definition: Mapping[str, Any]) -> list[str]:
    """The states that an execution passes when nothing fails."""
    way: list[str] = []
    name = definition["StartAt"]
    while name in definition["States"] and name not in way:
        way.append(name)
        state = definition["States"][name]
        name = state.get("Next") or state.get("Default", "")
    return way


def _targets(state: Mapping[str, Any]) -> Iterable[tuple[str, bool]]:
    """Where a state leads, and whether only by an error."""
    yield from ((str(each["Next"]), True) for each in state.get("Catch", ()))
    yield from ((str(each["Next"]), False) for each in state.get("Choices", ()) if "Next" in each)
    yield from ((str(state[word]), False) for word in ("Default", "Next") if word in state)


def _ranks(definition: Mapping[str, Any]) -> dict[str, int]:
    """The length of the longest way from the start to each state; ways back count nothing."""
    found: dict[str, int] = {}

    def visit(name: str, depth: int, above: frozenset[str]) -> None:
        if name in above or name not in definition["States"] or found.get(name, -1) >= depth:
            return
        found[name] = depth
        for target, _ in _targets(definition["States"][name]):
            visit(target, depth + 1, above | {name})

    visit(str(definition["StartAt"]), 0, frozenset())
    return found


def _edge(start: tuple[float, float], end: tuple[float, float], *, taken: bool, caught: bool) -> Markup:
    (x1, y1), (x2, y2) = (start[0] + _BOX[0] / 2, start[1] + _BOX[1]), (end[0] + _BOX[0] / 2, end[1])
    bend = max(24.0, (y2 - y1) / 2)
    kind = f"edge {'caught' if caught else ''} {'taken' if taken else ''}"
    return Markup('<path d="M{:.0f} {:.0f} C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}" class="{}"/>').format(
        x1, y1, x1, y1 + bend, x2, y2 - bend, x2, y2, kind
    )


def order_map(
    couriers: Sequence[Courier],
    unassigned: Sequence[Order],
    assigned: Sequence[tuple[Order, str]],
    chosen: str,
    tone: Callable[[str], str],
) -> Markup:
    """Couriers and orders in the city, in kilometres; each assigned order is joined with its courier."""
    where = {courier.id: courier.place for courier in couriers}
    places = [
        *where.values(),
        *(spot for order in [*unassigned, *(order for order, _ in assigned)] for spot in (order.pickup, order.dropoff)),
    ]
    reach = max([1.0, *(abs(value) for place in places for value in place)]) * 1.08
    side = 640.0

    def at(place: Place) -> tuple[float, float]:
        return side / 2 * (1 + place.x_km / reach), side / 2 * (1 - place.y_km / reach)

    parts = [
        Markup(
            '<line x1="{0}" x2="{0}" y1="0" y2="{1}" class="rule"/>'
            '<line x1="0" x2="{1}" y1="{0}" y2="{0}" class="rule"/>'
        ).format(side / 2, side),
        _text(side - 6, side / 2 - 6, f"{reach:.0f} km", "axis", "end"),
    ]
    for order, courier_id in [*assigned, *((order, "") for order in unassigned)]:
        (x1, y1), (x2, y2) = at(order.pickup), at(order.dropoff)
        kind = "chosen" if order.id == chosen else "given" if courier_id else "open"
        words = f"order {order.id}: {order.trip_km:.1f} km, {order.size_litres:.0f} litres" + (
            f", courier {courier_id}" if courier_id else ", open"
        )
        way = Markup("")
        if courier_id in where:
            x0, y0 = at(where[courier_id])
            way = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="approach"/>').format(
                x0, y0, x1, y1
            )
        parts.append(
            Markup(
                '<g class="order {}"><title>{}</title>{}'
                '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="trip"/>'
                '<rect x="{:.1f}" y="{:.1f}" width="8" height="8"/><circle cx="{:.1f}" cy="{:.1f}" r="3"/></g>'
            ).format(kind, words, way, x1, y1, x2, y2, x1 - 4, y1 - 4, x2, y2)
        )
    for courier in couriers:
        x, y = at(courier.place)
        words = (
            f"courier {courier.id}: {courier.vehicle or 'vehicle not known'}, {plural(courier.capacity, 'more order')}"
        )
        parts.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="7" class="courier fill-{}"><title>{}</title></circle>').format(
                x, y, tone(courier.vehicle), words
            )
        )
    waiting = plural(len(unassigned), "open order")
    label = f"Map of {plural(len(couriers), 'courier')}, {len(assigned)} assigned and {waiting}"
    return _svg(side, side, label, parts, "map")


def evidence_map(evidence: Sequence[Sequence[float]]) -> Markup:
    """The places of a photo that speak for the prediction, and those that speak against it, to lay over the photo."""
    strongest = max([1e-9, *(abs(value) for row in evidence for value in row)])
    size = len(evidence)
    cells = [
        Markup('<rect x="{}" y="{}" width="1" height="1" class="{}" fill-opacity="{:.2f}"/>').format(
            column, row, "for" if value > 0 else "against", 0.65 * abs(value) / strongest
        )
        for row, values in enumerate(evidence)
        for column, value in enumerate(values)
    ]
    return _svg(size, size, "Places that speak for the prediction, and against it", cells, "evidence")
