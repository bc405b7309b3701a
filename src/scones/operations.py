"""What is done with a model that is deployed: classify, watch, review and dispatch.

A step is imported when it is called, so that a command loads what it uses and no more.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from scones.data.dataset import Sample
from scones.domain.errors import require_number
from scones.domain.text import plural
from scones.environment import AnyPath, Environment, ModelReference, as_place

if TYPE_CHECKING:
    from scones.deployment.reviews import Review, ReviewAnswer, Reviews
    from scones.dispatch.orders import Rules
    from scones.steps.classify import ClassifyResult
    from scones.steps.classify_batch import BatchRunResult
    from scones.steps.corrections import Correction, Corrections
    from scones.steps.dispatch import DispatchResult
    from scones.steps.labels import Deployed, LabelExport, LabelResult, ReviewExport
    from scones.steps.logs import LogLines
    from scones.steps.models import NewestPage
    from scones.steps.monitor import LearnedDays, MonitorResult
    from scones.steps.replay import ExplanationPage, RejudgeResult, ReplayResult
    from scones.steps.simulate import SimulationResult, Stream


@dataclass(frozen=True, slots=True)
class Operations(Environment):
    """The steps of one environment after its deployment."""

    def classify(self, photos: AnyPath | Iterable[AnyPath] = (), *, output: AnyPath | None = None) -> "ClassifyResult":
        """Classify *photos*, by default the staged test photos; of several files, those that are no photos are listed.

        *output* also receives the results, as CSV or Parquet by its name.

        Raises:
            NoSuchPhoto: a single file cannot be read, or is no photo.
        """
        from scones.batch.results import require_format, write_results
        from scones.steps.classify import classify_files, read_file

        table = require_format(Path(output)) if output is not None else None
        files = [Path(path) for path in ([photos] if isinstance(photos, str | PathLike) else photos)]
        if len(files) == 1:
            read_file(files[0])
        workflow_arn = self._up().workflow_arn
        classes = self._deployed().classes
        if files:
            found = classify_files(self.aws, workflow_arn, files, self.settings.clients, self.report)
        else:
            found = self.classify_samples(self.test_samples())
        if table:
            write_results(table, found.results(), classes, found.photos())
            self.report.tell(f"results {table}")
        return self._save("classify", found)

    def test_samples(self) -> list[Sample]:
        """Return the staged test photos, the classes mixed: class after class would look like drift."""
        return sorted((sample for sample in self.samples() if sample.split == "test"), key=lambda item: item.sha256)

    def classify_samples(self, samples: Sequence[Sample]) -> "ClassifyResult":
        """Classify photos that are in the bucket."""
        from scones.steps.classify import classify

        return classify(self.aws, self._up().workflow_arn, samples, self.settings.clients, self.report)

    def upload(self, name: str, photo: bytes, label: str = "") -> Sample:
        """Upload one photo to classify."""
        from scones.steps.classify import upload_photo

        return upload_photo(self.aws, name, photo, label)

    def classify_batch(self, source: AnyPath, *, output: AnyPath | None = None) -> "BatchRunResult":
        """Classify every photo below *source*, an S3 prefix or a folder, in batches.

        *output* also receives the results, as CSV or Parquet by its name.

        Raises:
            PhotosNotGranted: the stack's functions have no permission to read the photos.
        """
        from scones.batch.results import read_lines, require_format, write_results
        from scones.steps.classify_batch import BatchTerms, classify_batch, open_batch

        table = require_format(Path(output)) if output is not None else None
        deployed, stack = self._deployed(), self._up()
        photos = open_batch(self.aws, as_place(source), self.settings.photo_bucket, self.report)
        terms = BatchTerms(
            model=deployed.config,
            classes=deployed.classes,
            threshold=stack.threshold,
            concurrency=self.settings.batch_concurrency,
        )
        found = classify_batch(self.aws, photos, terms, self.report)
        if table:
            (lines,) = (uri for uri in found.results if uri.endswith(".jsonl"))
            write_results(table, read_lines(self.aws.bucket.find_uri(lines) or b""), deployed.classes)
            self.report.tell(f"results {table}")
        return found

    def explain(self, executions: Mapping[str, str], page: AnyPath) -> "ExplanationPage":
        """Explain recorded decisions on *page*; *executions* maps their names to true classes, "" if unknown."""
        from scones.steps.replay import explain

        found = explain(self.aws, executions, Path(page), self._deployed().model_uri, self.report)
        self.report.tell(f"report {page}: {plural(found.photos, 'prediction')} explained")
        return found

    def replay(self, execution: str) -> "ReplayResult":
        """Rebuild one recorded decision."""
        model_uri = self._deployed().model_uri
        from scones.steps.replay import replay

        return replay(self.aws, execution, model_uri, self.report)

    def rejudge(self, model: ModelReference | None, threshold: float | None) -> "RejudgeResult":
        """Decide every recorded photo again, by another model or another threshold."""
        if threshold is not None:
            require_number("threshold", threshold, 0, 1, ends=False)
        self._up()
        from tempfile import TemporaryDirectory

        from scones.steps.replay import rejudge

        with TemporaryDirectory() as folder:
            file = None if model is None else self.model_file(model, Path(folder))
            return rejudge(self.aws, file, threshold, self.report)

    def monitor(self, at_least: int = 0, *, acknowledge: bool = False, seconds: float = math.inf) -> "MonitorResult":
        """Check the traffic since the last monitoring run, once at least *at_least* photos were captured.

        With *acknowledge* the active alarms are acknowledged first. After *seconds* the rest is left for the next run.
        """
        deployed = self._deployed()
        from scones.steps.monitor import MonitorTarget, monitor

        watched = MonitorTarget(
            endpoint=deployed.endpoint,
            config=deployed.config,
            model_uri=deployed.model_uri,
            capture_prefix=deployed.capture_prefix,
            alert_topic=self._up().alert_topic_arn,
            samples=self._staged_samples(),
            at_least=at_least,
            seconds=seconds,
            acknowledge=acknowledge,
        )
        return self._save("monitor", monitor(self.aws, self._with(deployed.classes), watched, self.report))

    def alert_page(self, found: "MonitorResult", folder: AnyPath = "reports") -> Path | None:
        """Write the page of the alert that *found* reports into *folder*; None if there is no alert."""
        if not found.report_uri:
            return None
        from scones.steps.models import copy_alert

        key = self.aws.bucket.key(found.report_uri)
        body = self.aws.bucket.find(key)
        if body is None:
            return None
        page = copy_alert(self.aws, key, body, Path(folder))
        self.report.tell(f"alert page {page}")
        return page

    def observe(  # noqa: PLR0913 - one parameter for each option
        self,
        endpoint: str,
        capture: str,
        classes: Sequence[str] = (),
        *,
        first: int = 0,
        at_least: int = 0,
        acknowledge: bool = False,
    ) -> "MonitorResult":
        """Check the traffic of an endpoint that Scones did not make, from its data capture below the URI *capture*.

        *classes* are named in the order of its answers; by default they are those of the staged photos. The first run
        makes the baseline: of the *first* captured photos or, if 0, of the endpoint's answers to the staged photos.
        """
        from scones.steps.monitor import find_observed, monitor

        named = tuple(classes) or self._classes()
        target = find_observed(self.aws, endpoint, capture, named, first)
        topic, samples = self._up().alert_topic_arn, () if first else self._staged_samples()
        target = replace(target, alert_topic=topic, samples=samples, at_least=at_least, acknowledge=acknowledge)
        return monitor(self.aws, self._with(named), target, self.report)

    def learn(self, days: int) -> "LearnedDays":
        """Use the traffic of the last *days* days as the monitor's baseline; 0 returns to the training photos."""
        deployed = self._deployed()
        from scones.steps.monitor import learn

        found = learn(self.aws, deployed.endpoint, deployed.model_uri, days, self.settings.seed)
        baseline = f"{plural(found.photos, 'photo')} of {plural(found.days, 'day')}" if days else "the training photos"
        self.report.tell(f"baseline: {baseline}")
        return found

    def open(self, folder: AnyPath = "reports", *, alert: bool = False) -> "NewestPage":
        """Find the newest page of this environment: a report below *folder*, or an *alert*, which is put there."""
        from scones.steps.models import newest_page

        return newest_page(self.aws, Path(folder), alert=alert)

    def logs(  # noqa: PLR0913 - one parameter for each option
        self,
        functions: str | Iterable[str] = (),
        *,
        since: str = "1h",
        photo: str | None = None,
        execution: str | None = None,
        errors: bool = False,
        limit: int = 100,
    ) -> "LogLines":
        """Read the newest *limit* log lines since a time (`30m`, `2d`, ISO 8601), by default of everything that logs.

        *photo* is the SHA-256 of a photo, or at least its first 12 digits, *execution* the name that `classify` shows;
        *errors* leaves out all others.

        Raises:
            LogError: there is no such function, time or id, *limit* is no count, or there is no stack.
        """
        from scones.steps.logs import LogFilter, read_logs

        named = (functions,) if isinstance(functions, str) else tuple(functions)
        return read_logs(self.aws, named, since, LogFilter(photo, execution, errors), limit)

    def label(self, labels: AnyPath) -> "LabelResult":
        """Keep *labels*, as `import_labels` does; the name of 0.1.0, which works until the release after 0.2."""
        return self.import_labels(labels)

    def to_label(self, table: AnyPath) -> None:
        """Export reviews to *table*; the name of 0.1.0, which works until the release after 0.2."""
        found = self.export_reviews(table)
        self.report.tell(f"{plural(found.photos, 'photo')} to label: write the labels into {found.table}")

    def import_labels(self, labels: AnyPath, by: str = "") -> "LabelResult":
        """Keep the labels in a file, and compare them with what the models had answered."""
        from scones.steps.labels import import_labels

        return import_labels(self.aws, self._answering(), Path(labels), by or self.aws.person, self.report)

    def export_labels(self, file: AnyPath) -> "LabelExport":
        """Write every label that people gave as a table, CSV or JSON Lines by the file's name."""
        from scones.steps.labels import export_labels

        return export_labels(self.aws, Path(file))

    def export_reviews(self, table: AnyPath, choose: int = 30, limit: int = 200) -> "ReviewExport":
        """Write the open reviews as a table to fill in, and beside it as tasks for Label Studio."""
        from scones.steps.labels import export_reviews

        return export_reviews(self.aws, self._answering(), Path(table), choose, limit)

    def _answering(self) -> "Deployed":
        from scones.steps.labels import Deployed

        deployed = self._deployed()
        days = self.settings.photo_retention_days
        return Deployed(deployed.endpoint, deployed.model_uri, deployed.capture_prefix, days)

    def reviews(self, state: str = "open", limit: int = 100) -> "Reviews":
        """List the photos that wait for a person, or were answered or skipped, and count the open ones."""
        self._up()
        from scones.deployment.reviews import list_reviews

        return list_reviews(self.aws, state, limit)

    def answer(self, photo: str, label: str, by: str = "") -> "ReviewAnswer":
        """Say what a photo shows, and dispatch the courier who waits for it; *by* defaults to the credentials' user."""
        from scones.deployment.reviews import answer

        return answer(self.aws, photo, label, by or self.aws.person, self._deployed().classes)

    def withdraw(self, photo: str, by: str = "") -> "ReviewAnswer":
        """Withdraw what a person said about a photo."""
        self._up()
        from scones.deployment.reviews import withdraw

        return withdraw(self.aws, photo, by or self.aws.person)

    def corrections(self, limit: int = 100) -> "Corrections":
        """List the training photos whose label the model trained last contradicts, the likeliest error first."""
        self._up()
        trained = self._trained()
        from scones.steps.corrections import list_corrections

        return list_corrections(self.aws, self._staged().version, trained.data_version, trained.model_uri, limit)

    def correct(self, photo: str, label: str, by: str = "") -> "Correction":
        """Say what a training photo shows; the next version of the data has the label."""
        self._up()
        from scones.steps.corrections import correct

        return correct(self.aws, self._staged().version, photo, label, by or self.aws.person)

    def withdraw_correction(self, photo: str, by: str = "") -> "Correction":
        """Withdraw what a person said about a training photo."""
        self._up()
        from scones.steps.corrections import withdraw_correction

        return withdraw_correction(self.aws, self._staged().version, photo, by or self.aws.person)

    def skip_review(self, photo: str) -> "Review":
        """Take a photo out of the open reviews without an answer."""
        self._up()
        from scones.deployment.reviews import skip

        return skip(self.aws, photo)

    def review_photo(self, photo: str) -> bytes:
        """Read the photo of a review."""
        self._up()
        from scones.deployment.reviews import review_photo

        return review_photo(self.aws, photo)

    def order(self, count: int) -> None:
        """Place *count* example orders now."""
        from scones.steps.dispatch import place_orders

        place_orders(self.aws, count, self.settings.seed)

    def dispatch(self, example: int = 0) -> "DispatchResult":
        """Dispatch the open orders now; first add *example* example orders, with couriers as classified last."""
        rules = self.dispatch_rules()
        rules.require(self._up().classes)
        from scones.steps.dispatch import dispatch, register_couriers

        if example:
            self.order(example)
            register_couriers(self.aws, self._classified().decided(), self.settings.seed)
        return self._save("dispatch", dispatch(self.aws, self.settings, rules, self.report))

    def dispatch_rules(self) -> "Rules":
        """Return the rules by which the workflow dispatches, some for each class if all have any."""
        from scones.dispatch.orders import Rules

        return Rules.read(self._up().dispatch_rules)

    def simulate(self, stream: "Stream") -> "SimulationResult":
        """Send a stream of events made of the staged test photos, each showing a courier, with an order for each."""
        workflow_arn = self._up().workflow_arn
        self._deployed()
        self.dispatch_rules().require(self._up().classes)
        from scones.steps.simulate import plan_events, simulate

        photos = [sample for sample in self.samples() if sample.split == "test"]
        events = plan_events(photos, stream, self.settings.seed)
        self.order(len(events))
        rate = stream.per_second, self.settings.clients
        return self._save("simulate", simulate(self.aws, workflow_arn, events, rate, self.report))
