"""Training a run on an engine: this machine, Slurm, Ray, or whatever a command starts.

An engine starts one command somewhere and says whether it is queued, runs or ended. All else passes through the run's
directory, in a folder or a bucket that both sides reach: the node's side (`laneb.engines.node`) takes a lease, trains
in its scratch and publishes; the coordinator's (`laneb.engines.coordinator`) submits, follows the events and reads how
it ended from the directory, whichever of the two is lost and comes back meanwhile.
"""

from laneb.engines.coordinator import CancelledError, Work, train
from laneb.engines.engine import Engine, EngineError, engine_for
from laneb.engines.events import Event, sentence
from laneb.engines.published import finished

__all__ = ["CancelledError", "Engine", "EngineError", "Event", "Work", "engine_for", "finished", "sentence", "train"]
