from sequencematch.core import DIVERGENCES as DIVERGENCES
from sequencematch.core import Inputs as Inputs
from sequencematch.core import Normaliser as Normaliser
from sequencematch.core import Objective as Objective
from sequencematch.core import Scores as Scores
from sequencematch.core import StateIndex as StateIndex
from sequencematch.core import Trajectory as Trajectory
from sequencematch.core import algorithm_2 as algorithm_2
from sequencematch.core import behavioural_cloning as behavioural_cloning
from sequencematch.core import data_objective as data_objective
from sequencematch.core import live_tokens as live_tokens
from sequencematch.core import rewards as rewards
from sequencematch.core import rollout_objective as rollout_objective
from sequencematch.core import score as score
from sequencematch.core import sequence_match as sequence_match
from sequencematch.core import state_tree as state_tree
from sequencematch.data.noise import inject as inject
from sequencematch.errors import UserError as UserError
from sequencematch.export.folder import export_model as export_model
from sequencematch.model.build import load_policy as load_policy
from sequencematch.model.policy import Policy as Policy
from sequencematch.sampling.decoding import Decoding as Decoding
from sequencematch.sampling.rollout import Rollout as Rollout
from sequencematch.sampling.rollout import sample as sample
from sequencematch.transformers_trainer.arguments import SequenceMatchConfig as SequenceMatchConfig
from sequencematch.transformers_trainer.trainer import SequenceMatchTrainer as SequenceMatchTrainer

__version__: str
