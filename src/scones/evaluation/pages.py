"""Pages: what every report has in common: its templates, its way with figures, its colours."""

from collections.abc import Mapping, Sequence

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined

from scones.evaluation.gallery import picture

_CLASS_COLOURS = 6


def class_colours(classes: Sequence[str]) -> Mapping[str, str]:
    """The page's colour of each class, in their order."""
    return {label: f"var(--class-{1 + index % _CLASS_COLOURS})" for index, label in enumerate(classes)}


def environment(*others: BaseLoader) -> Environment:
    """The templates, with the words and figures that they share; what comes from files is escaped.

    The templates of *others* come first.
    """
    environment = Environment(
        loader=ChoiceLoader([*others, PackageLoader("scones.evaluation")]),
        # File names of photos come from anywhere.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=lambda share: "none" if share is None else f"{100 * share:.1f}%",
        number=_number,
        dollars=_dollars,
        money=lambda value: f"{'-' if value < 0 else ''}${abs(value):,.2f}",
        plural=lambda count, word, words=None: f"{count:,} {word if count == 1 else words or word + 's'}",
        words=lambda name: str(name).replace("_", " "),
        picture=picture,
    )
    return environment


def _number(value: float) -> str:
    """A figure with about three digits, however large it is."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _dollars(value: float) -> str:
    """Dollars with as many places as it takes to see them."""
    if value == 0 or value >= 1:
        return f"${value:,.2f}"
    return f"${value:.4f}" if value >= 0.0001 else "< $0.0001"
