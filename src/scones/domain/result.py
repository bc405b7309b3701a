"""Result: what every step returns; a notebook shows it as a table, and it becomes a data frame or a figure."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Final

from scones.domain.errors import MissingExtra, ResultError
from scones.domain.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_MAX_ROWS: Final = 5
_MAX_COLUMNS: Final = 8
_MAX_CHARACTERS: Final = 80
_BINS: Final = 20

Row = dict[str, Any]


class StepResult:
    """The base of all results: each is a frozen dataclass, or a tuple of such.

    A *part* of a result is named as in docs/results.md: `result.to_pandas("threshold.selection.curve")`.
    """

    __slots__ = ()
    TABLE: ClassVar[str] = ""
    """The part that is the result's table; without one, its plain fields are a table of one row."""
    FIGURE: ClassVar[tuple[str, str, str]] = ("", "", "")
    """The part that `plot` draws, its *x* and its *y*."""

    def to_pandas(self, part: str = "") -> "DataFrame":
        """Return a part of the result, or its main table, as a data frame; nested fields get names with dots.

        Raises:
            MissingExtra: pandas is not installed.
            ResultError: there is no such part.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise MissingExtra("pandas", "pandas") from error
        return DataFrame(_rows(self, part or self.TABLE))

    def plot(self, part: str = "", x: str = "", y: str = "", ax: "Axes | None" = None) -> "Axes":
        """Draw the column *y* of a part along its column *x*: a line along numbers, bars beside words.

        Without *y* it draws how often the values of *x* occur. Without arguments it draws what shows the result best.
        It draws on *ax*, or on new axes, and returns them.

        Raises:
            ResultError: there is no such part or column, or no figure of its own.
        """
        if not (part or x):
            part, x, y = self.FIGURE
        rows = _rows(self, part or self.TABLE)
        if not x:
            raise ResultError(f"{_name(self, part)} is drawn by naming a column as x; it has {_listed(_columns(rows))}")
        if not rows:
            raise ResultError(f"{_name(self, part)} is empty: there is nothing to draw")
        along, drawn = _column(rows, x), _column(rows, y) if y else []
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        _draw(ax, along, drawn)
        numbers, words = (y or "number").replace("_", " "), x.replace("_", " ")
        ax.set(**{"xlabel": words, "ylabel": numbers} if _numeric(along) else {"xlabel": numbers, "ylabel": words})
        return ax

    def _repr_html_(self) -> str:
        """The plain fields, the number of rows of each part, and the first rows of the main table."""
        fields = [[name, *_described(name, getattr(self, name))] for name in _fields(self)]
        rows = _rows(self, self.TABLE) if self.TABLE or not fields else []
        more = f"{len(rows) - _MAX_ROWS} more rows: to_pandas()" if len(rows) > _MAX_ROWS else ""
        names = _columns(rows)[:_MAX_COLUMNS]
        first = [[row.get(name, "") for name in names] for row in rows[:_MAX_ROWS]]
        return f"<b>{type(self).__name__}</b>{_html(fields)}{_html(first, names)}{more}"


def _rows(result: object, part: str) -> list[Row]:
    """The rows of a part; the plain fields are those of a whole result, unless it is a tuple itself."""
    import msgspec

    found = result
    for name in part.split(".") if part else ():
        if name not in _fields(found):
            raise ResultError(f"{_name(result, part)}: there is no {name!r}; there are {_listed(_fields(found))}")
        found = getattr(found, name)
    plain = msgspec.to_builtins(found)
    if isinstance(found, Mapping):
        return [{"name": name, **_flat(value)} for name, value in plain.items()]
    if isinstance(plain, list | tuple):
        return [_flat(item) for item in plain]
    if isinstance(plain, dict) and _are_columns(list(plain.values())):
        return [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]
    row = _flat(plain)
    return [] if plain is None else [{name: row[name] for name in row if not isinstance(row[name], list | tuple)}]


def _are_columns(values: Sequence[object]) -> bool:
    """Whether the fields of a part are columns of equal length, as those of an evaluation's predictions are."""
    lengths = {len(value) for value in values if isinstance(value, list | tuple)}
    return len(lengths) == 1 and all(isinstance(value, list | tuple) for value in values)


def _flat(value: object, before: str = "") -> Row:
    """A value as the columns of a row: those of a mapping, also of nested ones, or one named `value`."""
    if not isinstance(value, Mapping):
        return {before or "value": value}
    return {
        name: found for key, item in value.items() for name, found in _flat(item, f"{before}.{key}".strip(".")).items()
    }


def _fields(value: object) -> Sequence[str]:
    return tuple(getattr(type(value), "__dataclass_fields__", ()))


def _name(result: object, part: str) -> str:
    return ".".join([type(result).__name__, *([part] if part else [])])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names)) or "nothing"


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _column(rows: Sequence[Row], name: str) -> list[Any]:
    columns = _columns(rows)
    if name not in columns:
        raise ResultError(f"there is no column {name!r}; there are {_listed(columns)}")
    return [row.get(name) for row in rows]


def _numeric(values: Sequence[object]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None)


def _draw(ax: "Axes", along: Sequence[Any], drawn: Sequence[Any]) -> None:
    if drawn and not _numeric(drawn):
        raise ResultError(f"only numbers can be drawn, not {drawn[0]!r}; name another column as y")
    if _numeric(along):
        finite = [value for value in along if value is not None and math.isfinite(value)]
        if not finite:
            raise ResultError("there is no finite number to draw; name another column")
        ax.plot(along, drawn) if drawn else ax.hist(finite, _BINS)
        return
    counts = Counter(map(str, along))
    names, numbers = ([str(name) for name in along], drawn) if drawn else (list(counts), list(counts.values()))
    ax.barh(range(len(names)), [number or 0 for number in numbers])
    # A pair of dollar signs would be read as a formula.
    ax.set_yticks(range(len(names)), [printable(name).replace("$", r"\$")[:_MAX_CHARACTERS] for name in names])
    ax.invert_yaxis()


def _described(name: str, value: object) -> Iterator[str]:
    """A plain value, or how to see a part."""
    if isinstance(value, str | int | float | None):
        yield str(value)
    elif isinstance(value, Sequence | Mapping):
        few = isinstance(value, Sequence) and 0 < len(value) <= _MAX_ROWS and all(isinstance(v, str) for v in value)
        rows = "1 row" if len(value) == 1 else f"{len(value)} rows"
        yield ", ".join(map(str, value)) if few else f"{rows}: to_pandas({name!r})" if value else "none"
    else:
        yield f"to_pandas({name!r})"


def _html(rows: Sequence[Sequence[object]], names: Sequence[str] = ()) -> str:
    head = f"<tr>{''.join(f'<th>{_cell(name)}</th>' for name in names)}</tr>" if names else ""
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table>{head}{body}</table>" if rows else ""


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else printable(str(value))
    return escape(text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}...")
