"""Photos from a shelf with one folder a class, with or without train/ and test/ above them."""

from scones.photos.check import Candidate, Found, assemble, look_at_all
from scones.photos.collection import Collection, LeftOut, Progress, SourceError, Split
from scones.photos.header import UnreadablePhoto
from scones.photos.layout import LAYOUT, OUTLIERS, check_name, sort_files
from scones.photos.shelf import Shelf


def collect_shelf(shelf: Shelf, classes: tuple[str, ...], progress: Progress) -> Collection:
    """Read every photo on *shelf*; those that cannot be used are left out, with the reason.

    Folders are matched with *classes* whatever their capitals; when none matches, the folders are the classes, in
    alphabetical order. Photos without test/ are split by their content, about 80 to 20. Photos of other things in
    outliers/ are for the guard to learn from. Hidden files are passed over.

    Raises:
        SourceError: nothing there, one class only, too few photos of a class.
    """
    layout = sort_files(shelf, classes)
    names: set[tuple[Split | None, str, str]] = set()
    candidates, misnamed = [], []
    for file in layout.files:
        try:
            check_name(file, names)
        except UnreadablePhoto as error:
            misnamed.append(LeftOut(file.item.path, error.reason))
            continue
        candidates.append(Candidate(file.name, file.label, file.split or "train", file.item.path, file.item.read))
    seen, unusable = look_at_all(candidates, progress)
    if not seen:
        first = "".join(f" ({item.name} {item.reason})" for item in [*misnamed, *unusable][:1])
        raise SourceError(f"{shelf.place} has {len(layout.files)} files but no photo that can be read{first}; {LAYOUT}")
    return assemble(
        Found(
            name=shelf.name,
            kind="photos",
            classes=layout.classes,
            photos=tuple(item for item in seen if item.photo.label != OUTLIERS),
            outliers=tuple(item for item in seen if item.photo.label == OUTLIERS),
            left_out=(*layout.left_out, *misnamed, *unusable),
            split=layout.split,
        )
    )
