"""The best settings per task: the best penalty, how sure it is, and the importance of the other settings."""

from pipeline.fronts.hyperparameters.by_task import Choice, best_by_task
from pipeline.fronts.hyperparameters.figures import write_profiles
from pipeline.fronts.hyperparameters.importance import importances
from pipeline.fronts.hyperparameters.profile import LEAST_TRIALS, PENALTY, Profile, penalty_profile
from pipeline.fronts.hyperparameters.trial_fronts import TrialFront, trial_fronts

__all__ = [
    "LEAST_TRIALS",
    "PENALTY",
    "Choice",
    "Profile",
    "TrialFront",
    "best_by_task",
    "importances",
    "penalty_profile",
    "trial_fronts",
    "write_profiles",
]
