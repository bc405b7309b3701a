from pathlib import Path

from scones.environment import load_result
from scones.pipeline import Pipeline
from scones.steps.deploy import DeployResult
from scones.steps.monitor import history
from tiny_model import noisy_pngs


def test_every_window_is_on_the_page(quiet: Pipeline, tmp_path: Path) -> None:
    """Each run leaves its windows in the bucket, and the page draws them all."""
    quiet.classify_samples(
        [quiet.upload(f"{number}.png", photo) for number, photo in enumerate(noisy_pngs(5, seed=31))]
    )
    quiet.monitor(at_least=5)
    quiet.history(tmp_path / "reports" / "monitor.html")
    page = (tmp_path / "reports" / "monitor.html").read_text()
    assert "Drift score" in page
    assert "data:image/jpeg" in page


def test_before_any_run_the_page_says_so(quiet: Pipeline, tmp_path: Path) -> None:
    """An endpoint without traffic has no history, and that is no error."""
    deployed = load_result(quiet.aws, "deploy", DeployResult)
    assert history(quiet.aws, "scones-unheard-of", deployed.model_uri, tmp_path / "page.html") == 0
    assert "No photo has been monitored yet" in (tmp_path / "page.html").read_text()
