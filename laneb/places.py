"""Where an experiment's files lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypeIs

from laneb.knobs import Places

if TYPE_CHECKING:
    from upath import UPath

    AnyPath = Path | UPath
else:
    AnyPath = Any


def checkout_root() -> Path:
    """The folder that holds dagster.yaml: the checkout when running from one, else the current folder."""
    beside = Path(__file__).resolve().parent.parent
    return beside if (beside / "dagster.yaml").is_file() else Path.cwd()


@dataclass(frozen=True)
class Locations:
    """Every place, resolved. The names of formats.md: W `work_dir`, B `baseline_work_dir`, R `baseline_results_dir`."""

    base_dir: Path
    work_dir: AnyPath
    log_dir: AnyPath
    baseline_work_dir: AnyPath
    baseline_results_dir: AnyPath
    duckdb_path: Path
    schema_path: AnyPath
    scaling_json: AnyPath
    scaling_txt: AnyPath
    stats_json: AnyPath
    calib_json: AnyPath
    calib_env: AnyPath
    infer_json: AnyPath
    manifest_csv: AnyPath
    baseline_results_csv: AnyPath
    baseline_threshold_json: AnyPath
    baseline_threshold_env: AnyPath
    local_dir: Path
    """Scratch of this machine: W itself when W is a folder here, else a folder that stands in for a bucket."""

    results_are_imported: bool = False
    """R was made elsewhere, and is never written to."""

    trained_elsewhere: bool = False
    """Runs train on machines of an engine, or on any that shares the bucket: what hardware decides is decided there."""

    @property
    def experiment_json(self) -> AnyPath:
        """The resolved settings that `experiment` stored."""
        return self.work_dir / "experiment.json"

    @property
    def overrides_json(self) -> AnyPath:
        """The overrides kept with the experiment."""
        return self.work_dir / "overrides.json"

    @property
    def runs_dir(self) -> Path:
        """Run directories; local, since training processes write there."""
        return self.local_dir / "runs"

    @property
    def run_results_dir(self) -> AnyPath:
        """Results of runs, by the role that they have in the lane."""
        return self.work_dir / "run_results"

    @property
    def corpus_dir(self) -> Path:
        """Tokenizers and token shards, by fingerprint, shared by all experiments under the base."""
        return self.base_dir / "laneb" / "corpus"

    @property
    def plots_dir(self) -> AnyPath:
        """Plots at full size."""
        return self.work_dir / "plots"

    @property
    def summary_md(self) -> AnyPath:
        """The report as Markdown."""
        return self.work_dir / "summary.md"

    @property
    def report_html(self) -> AnyPath:
        """The report as one self-contained page."""
        return self.work_dir / "report.html"


class PlaceError(ValueError):
    """A place that this installation can't reach."""


_RETRIES = {"mode": "standard", "max_attempts": 10}
"""For S3 that is away: pauses that grow to 20 s, about a minute and a half in all."""


def reach(text: str) -> AnyPath:
    """A folder's path, or a bucket's by its URL.

    Raises:
        PlaceError: a URL whose driver isn't installed, or that isn't one.
    """
    try:
        if "://" not in text:
            return Path(text).expanduser().absolute()
        from upath import UPath

        options: Any = {"config_kwargs": {"retries": _RETRIES}} if text.startswith(("s3://", "s3a://")) else {}
        scheme, _, rest = text.partition("://")
        # A doubled slash, as two pasted parts leave it, would be another place in a bucket.
        bucket: UPath = UPath(f"{scheme}://{re.sub('/+', '/', rest)}", **options)
        bucket.fs  # noqa: B018 - asks for the bucket's driver
        return bucket
    except (ImportError, ValueError, RuntimeError) as error:
        raise PlaceError(
            f"{text}: this place can't be reached: {error}. A bucket needs its driver: pip install 'laneb[s3]', "
            "'laneb[gcs]' or 'laneb[az]'."
        ) from None


def _of_this_machine(text: str, variable: str, instead: str) -> Path:
    if "://" in text:
        raise PlaceError(f"{variable}={text}: this is a folder of this machine. {instead}")
    return Path(text).expanduser().absolute()


def locate(places: Places, experiment: str) -> Locations:
    """Fill every empty place with its default."""
    base = checkout_root() / "data"
    if places.base_dir:
        instead = "Set LANE_B_WORK_DIR to the bucket."
        base = _of_this_machine(places.base_dir, "NANOCHAT_BASE_DIR", instead)
    duckdb = base / "laneb" / "lane_b.duckdb"
    if places.duckdb_path:
        instead = "Its CSV export goes to a bucket with LANE_B_WORK_DIR or LANE_B_SCHEMA_PATH."
        duckdb = _of_this_machine(places.duckdb_path, "LANE_B_DUCKDB_PATH", instead)
    default_work = base / "laneb" / experiment

    def place(text: str, default: AnyPath) -> AnyPath:
        return reach(text) if text else default

    work = place(places.work_dir, default_work)
    baseline = place(places.baseline_work_dir, work / "baseline")
    results = place(places.baseline_results_dir, baseline / "results")
    return Locations(
        base_dir=base,
        work_dir=work,
        log_dir=place(places.log_dir, work / "logs"),
        baseline_work_dir=baseline,
        baseline_results_dir=results,
        duckdb_path=duckdb,
        schema_path=place(places.schema_path, work / "lane_b_inference_schema.csv"),
        scaling_json=place(places.scaling_json, work / "scaling_params.json"),
        scaling_txt=place(places.scaling_txt, work / "n_scaling_params.txt"),
        stats_json=place(places.stats_json, work / "stats.json"),
        calib_json=place(places.calib_json, work / "calibration.json"),
        calib_env=place(places.calib_env, work / "calibration.env"),
        infer_json=place(places.infer_json, work / "infer.json"),
        manifest_csv=place(places.manifest_csv, work / "candidate_runs.csv"),
        baseline_results_csv=place(places.baseline_results_csv, results / "results.csv"),
        baseline_threshold_json=place(places.baseline_threshold_json, baseline / "baseline_threshold.json"),
        baseline_threshold_env=place(places.baseline_threshold_env, baseline / "baseline_threshold.env"),
        local_dir=work if is_folder_path(work) else default_work,
    )


def is_folder_path(path: AnyPath) -> TypeIs[Path]:
    """Whether a path is one of this machine's file system, NFS included, and not a bucket's."""
    # UPath is a Path subclass for local URLs in some releases; a protocol other than file marks a bucket.
    return isinstance(path, Path) and getattr(path, "protocol", "") in ("", "file", "local")
