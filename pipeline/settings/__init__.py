"""Which settings a task wants: the best penalty per task, how sharply it is known, and what else matters."""

from pipeline.settings.by_task import Bounds, Choice, best_by_task
from pipeline.settings.importance import importances
from pipeline.settings.networks import TrialFront, trial_fronts
from pipeline.settings.pictures import write_profiles
from pipeline.settings.profile import LEAST_TRIALS, PENALTY, Profile, penalty_profile

__all__ = [
    "LEAST_TRIALS",
    "PENALTY",
    "Bounds",
    "Choice",
    "Profile",
    "TrialFront",
    "best_by_task",
    "importances",
    "penalty_profile",
    "trial_fronts",
    "write_profiles",
]
