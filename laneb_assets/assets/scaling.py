"""How many parameters the ratio counts."""

import dagster as dg

from laneb.model.scaling import ModelShape, count_parameters
from laneb.records.experiment import Experiment
from laneb.training.spec import trained_with
from laneb_assets.lane import lane_asset
from laneb_assets.metadata import materialized
from laneb_assets.resources import Stored


@lane_asset(group="inference", settings=["model", "data"], kinds=["python"])
def scaling_params(store: Stored) -> dg.MaterializeResult:
    """The parameter counts of the model's shape; the ratio counts transformer matrices and head."""
    experiment = store.read(Experiment)
    model = trained_with(experiment.model, experiment.training, experiment.origins).model
    record = count_parameters(ModelShape.of(model, experiment.data.vocab_size))
    path = store.write(record)
    return materialized(record, path, n_scaling_params=record.n_scaling_params, total_params=record.param_counts.total)
