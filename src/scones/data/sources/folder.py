"""Folder source: the photos of a folder or bucket prefix, their class and split by the folders above them.

| layout | meaning |
|---|---|
| `<class>/<photo>` | Scones chooses the test photos |
| `<split>/<class>/<photo>`, `<class>/<split>/<photo>` | the splits are kept |
| `<source>/<class>/<photo>`, also below or above the splits | photos of several sources, such as phones or cities |
| `<class>/<source>/<photo>` | the same |

A table beside or above the photos (`TABLES` in files.py) may name their sources, too, and counts before the folders.
Any of them may lie in folders of no meaning, such as those of an unpacked archive. Names are compared by `_plain`.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from scones.data.dataset import (
    Dataset,
    ExcludedFile,
    LabelledPhoto,
    ProgressCallback,
    SourceError,
    Split,
    TooFewPhotos,
    folder_below,
)
from scones.data.image_header import UnreadablePhoto
from scones.data.sources.files import FileSource, SourceFile, read_tables, unsuitable
from scones.data.validation import ImageFile, SourceContent, build_dataset, validate_images
from scones.domain.text import plural

OUTLIERS: Final = "outliers"
"""The folder of out-of-distribution photos, as a label."""
LAYOUT: Final = "it should hold one folder of photos for each class (or train/ and test/ with those)"
"""The expected layout, for messages."""
_MAX_IMBALANCE: Final = 2

Role = Literal["train", "test", "validation", "holdout", "outliers"]
"""What a folder is for, by its name."""

_FILLER: Final = (
    r"(?:dataset|data|set|split|subset|image|img|photo|picture|pic|file|sample|example|folder)s?"
    r"|v?\d+|my|the|all|full|new|final|copy|raw|cleaned|clean|resized|original"
)
"""Words that do not change what a folder is for, the longest of those that begin alike first."""
_WORDS: Final[dict[Role, str]] = {
    "train": r"trains?|trainings?|trn|learn|learning|train(?:ing)?(?:and)?val(?:id|idation)?",
    "test": r"tests?|testing|tst",
    "validation": r"vals?|valids?|validations?|validate|validating|dev|development",
    "holdout": r"hold(?:ing)?outs?|heldouts?|evals?|evaluations?",
    "outliers": r"outliers?",
}
_ROLES: Final = {
    # Possessive: a name such as datasetdatasetdataset... takes no exponential time.
    role: re.compile(rf"(?:{_FILLER})*+(?:{words})(?:{_FILLER})*+")
    for role, words in _WORDS.items()
}
TEST_ROLES: Final[tuple[Role, ...]] = ("test", "validation", "holdout")
"""Whose photos test the model: those of the first of these that there is."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file with the class, the split and the source of its folders.

    *split* is None without test photos of the source's own; *source* is empty where the folders name none.
    """

    item: SourceFile
    name: str
    label: str
    split: Split | None
    source: str = ""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """The files of the classes and of outliers/, sorted by split, class and name; and the files that are left out."""

    files: tuple[LabelledFile, ...]
    classes: tuple[str, ...]
    left_out: tuple[ExcludedFile, ...]
    split: bool
    """Whether the source has its own test photos."""
    warnings: tuple[str, ...] = ()
    """How folders were understood, and which are not used, where that may surprise."""


def sort_files(source: FileSource, classes: tuple[str, ...]) -> FileLayout:
    """Sort the files of *source* into classes and splits.

    Folder names match *classes* in any case, singular or plural; if none matches, the folders are the classes, in
    alphabetical order. A folder of *classes* is a class, whatever else its name could mean.

    Raises:
        SourceError: no folders, only one class, a missing class, or test photos without training photos.
    """
    sorter = _Sorter(source, classes)
    files = sorter.sort([(item, tuple(item.path.split("/"))) for item in source.items])
    labels = Counter(file.label for file in files if file.label != OUTLIERS)
    chosen, unused = _choose(source, labels, classes)
    wanted = (*chosen, OUTLIERS)
    kept = [file for file in files if file.label in wanted]
    kept.sort(key=lambda file: (file.split == "test", wanted.index(file.label), file.name))
    others = [ExcludedFile(f"{name}/", "is not one of the classes", labels[name]) for name in unused]
    folders = sorted((*sorter.folders, *others), key=lambda folder: (-folder.files, folder.name))
    if others:
        sorter.notes.append(f"the classes are {', '.join(chosen)}; to use others, name all in the setting classes")
    return FileLayout(
        files=tuple(kept),
        classes=chosen,
        left_out=(*folders, *sorter.strays, *source.left_out),
        split=sorter.has_test,
        warnings=(
            *(f"LEFT OUT: {item.name} ({plural(item.files, 'file')}) {item.reason}" for item in folders),
            *(f"LEFT OUT: {item.name} {item.reason}" for item in source.left_out if _matters(item, classes)),
            *sorter.notes,
        ),
    )


def role_of(folder: str) -> Role | None:
    """What a folder with this name is for; None for any other name.

    `Train`, `training_set`, `train-images` and `train2017` are one role.
    """
    plain = _plain(folder)
    return next((role for role, words in _ROLES.items() if words.fullmatch(plain)), None)


def _roles(folders: Sequence[str]) -> dict[str, Role]:
    """The roles of folders side by side: also of `bikes_train` and `bikes_test`, which differ in nothing else."""
    roles = {folder: role for folder in folders if (role := role_of(folder))}
    families: defaultdict[tuple[str, ...], dict[str, Role]] = defaultdict(dict)
    for folder in folders:
        words = [word for word in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", folder) if word]
        for number, word in enumerate(words):
            if len(words) > 1 and (role := role_of(word)):
                rest = (*words[:number], *words[number + 1 :])
                families[tuple(map(_plain, rest))][folder] = role
    for family in families.values():
        if "train" in family.values() and not set(TEST_ROLES).isdisjoint(family.values()):
            roles = {**family, **roles}
    return roles


def _plain(name: str) -> str:
    """A name without case, accents' encoding and separators."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())


def _singular(name: str) -> str:
    plain = _plain(name)
    return plain[:-1] if len(plain) > 3 and plain.endswith("s") and not plain.endswith("ss") else plain


def _match(folder: str, classes: Sequence[str]) -> str | None:
    """Return the class of this name, ignoring case; else the only one that differs in separators or plural alone."""
    name = unicodedata.normalize("NFC", folder).casefold()
    same = [label for label in classes if label.casefold() == name]
    same = same or [label for label in classes if _singular(label) == _singular(folder)]
    return same[0] if len(same) == 1 else None


_Placed = tuple[SourceFile, tuple[str, ...]]
"""A file, and what is left of its path: folders and its name."""


@dataclass(slots=True)
class _Sorter:
    """Finds out what the folders of *source* mean; collects what is not used, and notes."""

    source: FileSource
    classes: tuple[str, ...]
    has_test: bool = False
    folders: list[ExcludedFile] = field(default_factory=list)
    strays: list[ExcludedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def sort(self, placed: Sequence[_Placed]) -> list[LabelledFile]:
        outliers: list[LabelledFile] = []
        placed = self._unwrap(placed, outliers)
        roles = self._roles(_tops(placed))
        if roles:
            files = self._by_split(placed, roles)
        elif self._has_splits_inside(placed):
            files = self._by_inner_split(placed)
        else:
            files = self._label([(None, item, parts) for item, parts in placed])
        return [*files, *outliers]

    def _roles(self, folders: Sequence[str]) -> dict[str, Role]:
        """The roles of folders side by side; where they have all classes of the settings, these have none."""
        whole = {_match(folder, self.classes) for folder in folders}.issuperset(self.classes)
        roles = _roles(folders)
        return {name: role for name, role in roles.items() if not (whole and _match(name, self.classes))}

    def _unwrap(
        self, placed: Sequence[_Placed], outliers: list[LabelledFile] | None = None, role: Role | None = None
    ) -> list[_Placed]:
        """Descend through folders of no meaning, also through train/ in train/ (*role*); take outliers/ out."""
        path = ""
        while True:
            inside = self._without_outliers(placed, outliers)
            tops = _tops(inside)
            top = tops[0] if len(tops) == 1 else ""
            if not top or not self._is_wrapper(top, inside, role):
                break
            path += f"{top}/"
            self._stray(item for item, parts in inside if len(parts) == 1)
            placed = [(item, parts[1:]) for item, parts in inside if len(parts) > 1]
        if path:
            self.notes.append(f"the photos are read from the folder {path} inside")
        return inside

    def _is_wrapper(self, top: str, inside: Sequence[_Placed], role: Role | None) -> bool:
        """Whether the only folder has no meaning: most of its files are in folders of its own."""
        direct = sum(len(parts) == 2 for _, parts in inside)
        deeper = sum(len(parts) > 2 for _, parts in inside)
        if deeper <= direct or _match(top, self.classes):
            return False
        return role_of(top) in {None, role} or self._has_splits_inside(inside)

    def _without_outliers(self, placed: Sequence[_Placed], outliers: list[LabelledFile] | None) -> list[_Placed]:
        tops = _tops(placed)
        roles = self._roles(tops) if outliers is not None else {}
        named = {top for top, role in roles.items() if role == OUTLIERS}
        for item, parts in placed:
            if outliers is not None and len(parts) > 1 and parts[0] in named:
                outliers.append(LabelledFile(item, _name(parts[1:]), OUTLIERS, "train"))
        return [(item, parts) for item, parts in placed if len(parts) == 1 or parts[0] not in named]

    def _by_split(self, placed: Sequence[_Placed], roles: dict[str, Role]) -> list[LabelledFile]:
        """Sort the files of folders for training and for testing; *roles* are those of the folders."""
        splits = self._choose_splits(roles)
        for top, count in Counter(parts[0] for _, parts in placed if len(parts) > 1).items():
            if top not in splits:
                self.folders.append(ExcludedFile(f"{top}/", self._unused_reason(top, roles, splits), count))
        self._stray(item for item, parts in placed if len(parts) == 1)
        groups: list[tuple[Split | None, SourceFile, tuple[str, ...]]] = []
        for top, split in splits.items():
            inside = [(item, parts[1:]) for item, parts in placed if len(parts) > 1 and parts[0] == top]
            inner = self._unwrap(inside, role=roles[top])
            groups += [(split, item, parts) for item, parts in inner]
            if not any(len(parts) > 1 for _, parts in inner):
                files = plural(len(inner), "file")
                raise SourceError(
                    f"{self.source.place} has {files} in {top}/ without a folder for each class; {LAYOUT}"
                )
        return self._label(groups)

    def _choose_splits(self, roles: dict[str, Role]) -> dict[str, Split]:
        """Choose the folders of training and of test photos; say so where they have other names."""
        by_role: defaultdict[Role, list[str]] = defaultdict(list)
        for top, role in sorted(roles.items()):
            by_role[role].append(top)
        testing = next((by_role[role] for role in TEST_ROLES if by_role[role]), [])
        if not by_role["train"]:
            raise SourceError(
                f"{self.source.place} has {testing[0]}/ but no train/; {LAYOUT}; if {testing[0]!r} is a class, "
                "name it in the setting classes"
            )
        for same in (by_role["train"], testing):
            if len(same) > 1:
                names = " and ".join(f"{name}/" for name in same)
                raise SourceError(f"{self.source.place} has {names} for the same purpose; put their photos together")
        self.has_test = bool(testing)
        if not testing:
            self._explain_missing_test_photos()
        splits: dict[str, Split] = {by_role["train"][0]: "train", **dict.fromkeys(testing, "test")}
        renamed = [f"{name}/ holds the {split} photos" for name, split in splits.items() if name != split]
        if renamed:
            self.notes.append("; ".join(renamed).replace("the train photos", "the training photos"))
        return splits

    def _explain_missing_test_photos(self) -> None:
        """Say that a folder of test photos holds none; refuse one whose photos could not be read."""
        for item in self.source.left_out:
            *folders, last = item.name.removesuffix("/").split("/")
            folders += [last] if item.name.endswith("/") else []
            name = next((folder for folder in folders if role_of(folder) in TEST_ROLES), "")
            if name and item.name.endswith("/") and item.files and not unsuitable(last):
                raise SourceError(
                    f"{self.source.place}: {item.name} {item.reason}, so there are no test photos; mend it, or remove "
                    f"{name}/ to have them chosen from the training photos"
                )
            if name:
                self.notes.append(f"{name}/ holds no photos: the test photos are chosen from the training photos")
                return

    def _unused_reason(self, top: str, roles: dict[str, Role], splits: dict[str, Split]) -> str:
        testing = [name for name, split in splits.items() if split == "test"]
        if roles.get(top) in TEST_ROLES and testing:
            return f"is a second set of test photos; {testing[0]}/ is used"
        return "is neither train/ nor test/"

    def _has_splits_inside(self, placed: Sequence[_Placed]) -> bool:
        """Whether the folders of the second level are splits: both training and test photos."""
        inner = set(map(role_of, {parts[1] for _, parts in placed if len(parts) > 2}))
        return "train" in inner and not inner.isdisjoint(TEST_ROLES)

    def _by_inner_split(self, placed: Sequence[_Placed]) -> list[LabelledFile]:
        """Sort `<class or source>/<split>/...` as if the split came first."""
        turned = [(item, (parts[1], parts[0], *parts[2:])) for item, parts in placed if len(parts) > 2]
        self._stray(item for item, parts in placed if len(parts) <= 2)
        groups: defaultdict[Role | None, set[str]] = defaultdict(set)
        for _, parts in turned:
            groups[role_of(parts[0])].add(parts[0])
        # Each class may spell its splits in its own way.
        spelled = {name: min(names) for role, names in groups.items() if role for name in names}
        self.notes.append("the folders of training and test photos are inside those of the classes")
        roles = {name: role for role, names in groups.items() if role for name in [min(names)]}
        return self._by_split([(item, (spelled.get(p[0], p[0]), *p[1:])) for item, p in turned], roles)

    def _label(self, groups: Sequence[tuple[Split | None, SourceFile, tuple[str, ...]]]) -> list[LabelledFile]:
        """Label each file by its first folder, or by its second where the first ones are sources of photos."""
        level = 1 if self._has_sources([parts for _, _, parts in groups]) else 0
        self._stray(item for _, item, parts in groups if len(parts) <= level + 1)
        inside = [(split, item, parts) for split, item, parts in groups if len(parts) > level + 1]
        labels = self._labels({parts[level] for _, _, parts in inside})
        files = [
            LabelledFile(
                item=item,
                name=_name((*parts[:level], *parts[level + 1 :])),
                label=labels[parts[level]],
                split=split if split or labels[parts[level]] != OUTLIERS else "train",
                source=parts[0] if level else folder_below("/".join(parts)),
            )
            for split, item, parts in inside
        ]
        folders: defaultdict[object, set[str]] = defaultdict(set)
        for file, (split, _, parts) in zip(files, inside, strict=True):
            for key in ((split, file.label), (split, file.label, file.name)):
                folders[key].add(parts[level])
        for names in {tuple(sorted(folders[split, label])) for split, label in {(f.split, f.label) for f in files}}:
            if len(names) > 1:
                self.notes.append(f"{', '.join(f'{name}/' for name in names)} are one class, {labels[names[0]]}")
        # Photos of the same name in two folders of one class are told apart by their folders.
        return [
            replace(file, name=_name(parts)) if len(folders[split, file.label, file.name]) > 1 else file
            for file, (split, _, parts) in zip(files, inside, strict=True)
        ]

    def _has_sources(self, paths: Sequence[tuple[str, ...]]) -> bool:
        """Whether the folders are sources of photos: no class of the settings, but each of these is inside them."""
        first = {parts[0] for parts in paths if len(parts) > 1}
        second = {_match(name, self.classes) for name in {parts[1] for parts in paths if len(parts) > 2}}
        other = any(_match(name, self.classes) or role_of(name) for name in first)
        if other or not second.issuperset(self.classes):
            return False
        self.notes.append(f"{', '.join(f'{name}/' for name in sorted(first))} hold photos of the same classes")
        return True

    def _labels(self, folders: Iterable[str]) -> dict[str, str]:
        """The class of each folder."""
        labels, spelled = {}, dict[str, str]()
        for folder in sorted(folders):
            name = unicodedata.normalize("NFC", folder)
            known = OUTLIERS if role_of(folder) == OUTLIERS else None
            labels[folder] = _match(folder, self.classes) or known or spelled.setdefault(name.casefold(), name)
        return labels

    def _stray(self, items: Iterable[SourceFile]) -> None:
        self.strays += [ExcludedFile(item.path, "is not in the folder of a class") for item in items]


def _tops(placed: Iterable[_Placed]) -> list[str]:
    return sorted({parts[0] for _, parts in placed if len(parts) > 1})


def _name(parts: Sequence[str]) -> str:
    return unicodedata.normalize("NFC", "/".join(parts))


def _matters(item: ExcludedFile, classes: Sequence[str]) -> bool:
    """Whether a folder that was not read would have been a split or a class."""
    name = item.name.rstrip("/").rpartition("/")[2]
    return item.name.endswith("/") and bool(role_of(name) or _match(name, classes))


def check_name(file: LabelledFile, names: set[tuple[Split | None, str, str]]) -> None:
    """Check that a name is unique; *names* are those of earlier files.

    Two names can differ only in the encoding of their accents.

    Raises:
        UnreadablePhoto: the file must be renamed first.
    """
    key = (file.split, file.label, file.name)
    if file.name and key in names:
        raise UnreadablePhoto("has the same name as another photo of its class")
    names.add(key)


def _choose(source: FileSource, labels: Counter[str], classes: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Choose the folders that are classes; the second list has the others."""
    found = sorted(labels)
    if not found:
        raise SourceError(f"{source.place} contains no folders with photos; {LAYOUT}{_unread(source)}")
    wanted = classes
    missing = [label for label in classes if label not in found]
    if len(missing) == len(classes):
        classes, missing = tuple(found), []
    if missing:
        there = ", ".join(found)
        raise SourceError(f"{source.place} has no folder {missing[0]!r}; folders there: {there}{_unread(source)}")
    if len(classes) < 2:
        raise SourceError(f"{source.place} has only one class ({classes[0]}); at least two are needed{_unread(source)}")
    for label in (label for label in found if label in classes and role_of(label) in ("train", *TEST_ROLES)):
        if label not in wanted:
            raise SourceError(
                f"{source.place} has {label}/ where a class should be; {LAYOUT}; if {label!r} is a class, "
                "name it in the setting classes"
            )
    for label in (label for label in classes if "," in label):
        raise SourceError(f"{source.place} has a class {label!r}; rename the folder without commas and line ends")
    return classes, [label for label in found if label not in classes]


def _unread(source: FileSource) -> str:
    """The first folder that was not read, for an error that it may explain."""
    return next((f"; {item.name} {item.reason}" for item in source.left_out if item.name.endswith("/")), "")


def load_files(
    source: FileSource,
    classes: tuple[str, ...],
    progress: ProgressCallback,
) -> Dataset:
    """Load the photos of *source*; files that cannot be used are left out, with the reason.

    Folders are understood as in `sort_files`; warnings about them come first. Without test photos of its own, the
    photos are split by content, about 80 to 20. Photos of other things in outliers/ train the out-of-distribution
    detector.

    Raises:
        SourceError: no photos, only one class, or too few photos of a class.
    """
    source, named, notes = read_tables(source)
    layout = sort_files(source, classes)
    names: set[tuple[Split | None, str, str]] = set()
    candidates, misnamed = [], []
    for file in layout.files:
        try:
            check_name(file, names)
        except UnreadablePhoto as error:
            misnamed.append(ExcludedFile(file.item.path, error.reason))
            continue
        origin = named.get(file.item.path, file.source)
        candidates.append(
            ImageFile(file.name, file.label, file.split or "train", file.item.path, file.item.read, origin)
        )
    seen, unusable = validate_images(candidates, progress)
    if not seen:
        first = "".join(f" ({item.name} {item.reason})" for item in [*misnamed, *unusable][:1])
        raise SourceError(
            f"{source.place} has {plural(len(layout.files), 'file')} but no readable photo{first}; {LAYOUT}"
        )
    content = SourceContent(
        name=source.name,
        kind="photos",
        classes=layout.classes,
        photos=tuple(item for item in seen if item.photo.label != OUTLIERS),
        outliers=tuple(item for item in seen if item.photo.label == OUTLIERS),
        left_out=(*layout.left_out, *misnamed, *unusable),
        split=layout.split,
    )
    try:
        collection = build_dataset(content)
    except TooFewPhotos as error:
        of_class = {file.item.path for file in layout.files if file.label == error.label}
        if not_used := [item for item in (*misnamed, *unusable) if item.name in of_class]:
            example = not_used[0]
            files = plural(len(not_used), "file")
            error.args = (f"{error}; {files} of it cannot be used, such as {example.name}: {example.reason}",)
        raise
    unequal = _imbalance(collection.photos, collection.classes)
    return replace(collection, warnings=(*layout.warnings, *notes, *unequal))


def _imbalance(photos: Sequence[LabelledPhoto], classes: Sequence[str]) -> Iterator[str]:
    """Name the classes that have less than half as many photos as the largest."""
    counts = Counter(photo.label for photo in photos)
    most = max(classes, key=lambda label: counts[label])
    for label in classes:
        if counts[label] * _MAX_IMBALANCE < counts[most]:
            yield (
                f"class {label!r} has {plural(counts[label], 'photo')}, and {most!r} {counts[most]:,}: "
                f"the model will recognize {label!r} less well; add photos of it"
            )
