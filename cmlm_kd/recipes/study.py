"""Trials with optuna: which values are tried next, and which trials are worth going on with.

Successive halving (Jamieson and Talwalkar, 2016), in the form that does not wait for a rung to be full (Li et
al., 2020, ASHA): a trial goes on from a rung if it is among the best 1 / factor of those that got there.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.recipes.search_space import SearchSpace
from cmlm_kd.system.files import written_aside

PURPOSE = "purpose"

_SEEDS_APART = 1_000_003
"""Of two settings of one trial; more than there are trials."""


@dataclass(frozen=True)
class TrialRecord:
    """A trial as the study knows it.

    Attributes:
        number: from 0.
        values: of the settings.
        reached: updates -> what validation gave.
        state: ``running``, ``pruned`` or ``complete``.
    """

    number: int
    values: dict[str, Any]
    reached: dict[int, float]
    state: str

    @property
    def updates(self) -> int:
        """Updates that it was trained for, so far as it was compared."""
        return max(self.reached, default=0)


class Study:
    """The trials of one search, kept in a file from one call to the next.

    Args:
        file: where they are kept.
        space: what may be tried.
        purpose: what may not change from one call to the next.
        rungs: see :func:`cmlm_kd.recipes.search_space.rungs_of`.
        factor: one of so many goes on from a rung.
        maximize: whether more is better.
        seed: of what is drawn.

    Raises:
        UserError: optuna is not installed; the file is damaged, or of another search.
    """

    def __init__(
        self,
        file: Path,
        space: SearchSpace,
        purpose: Mapping[str, Any],
        rungs: Sequence[int],
        factor: int,
        *,
        maximize: bool,
        seed: int,
    ) -> None:
        self._optuna: Any = _optuna()
        self._space, self._rungs, self._factor, self._seed = space, rungs, factor, seed
        self._pruner = self._optuna.pruners.SuccessiveHalvingPruner(
            min_resource=rungs[0], reduction_factor=factor, min_early_stopping_rate=0
        )
        self._direction = "maximize" if maximize else "minimize"
        wanted = json.loads(json.dumps(dict(purpose)))  # as it comes back from the file
        if not (file.is_file() and self._keeps_something(file, wanted)):
            # All at once: a search that a kill left without its settings would be taken for another one, and
            # one without some of its combinations would end before all were tried.
            with written_aside(file) as partial:
                study = self._opened(partial)
                study.set_user_attr(PURPOSE, wanted)
                for combination in space.combinations(seed) or ():
                    study.enqueue_trial(combination)
        self._study = self._opened(file)
        known = self._study.user_attrs.get(PURPOSE), self._study.direction.name.lower()
        if known != (wanted, self._direction):
            differs = [
                f"{part}, now {now}" for part, now in zip(known, (wanted, self._direction), strict=True)
            ]
            raise UserError(
                f"{file} is of another search ({'; '.join(differs)}); give another --output, or remove it to "
                "begin anew"
            )

    def _opened(self, file: Path) -> Any:
        """Return the study in a file, a new one where there is none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # journals are called experimental
                storage = self._optuna.storages.JournalStorage(
                    self._optuna.storages.journal.JournalFileBackend(str(file))
                )
                return self._optuna.create_study(
                    storage=storage,
                    study_name="tune",
                    pruner=self._pruner,
                    direction=self._direction,
                    load_if_exists=True,
                )
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{file} cannot be read: {first_line(error)}; remove it to begin the search anew"
            ) from error

    def _keeps_something(self, file: Path, wanted: dict[str, Any]) -> bool:
        """Return whether a file has trials, or is of another search.

        A file in which an earlier version was killed has neither.
        """
        study = self._opened(file)
        waiting = self._optuna.trial.TrialState.WAITING
        begun = any(trial.state != waiting for trial in study.trials)
        return begun or study.user_attrs.get(PURPOSE, wanted) != wanted

    def next_trial(self) -> Any | None:
        """Return the trial that was interrupted, or else a new one; None when all were tried."""
        states = self._optuna.trial.TrialState
        for running in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            trial = self._optuna.trial.Trial(self._study, running._trial_id)
            if self._state_after_rung(trial) == "running":
                return self._with_values(trial)
        waiting = self._study.get_trials(deepcopy=False, states=(states.WAITING,))
        if not self._space.ranges and not waiting:
            return None
        return self._with_values(self._study.ask())

    def _with_values(self, trial: Any) -> Any:
        """Give a trial the values that it lacks: all, or those that it had not been given before a kill."""
        for place, name in enumerate(self._space.names):
            # Each is drawn anew from seed, number and place, so that an interruption changes nothing.
            seed = self._seed + trial.number + _SEEDS_APART * place
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            if name in self._space.choices:
                trial.suggest_categorical(name, self._space.choices[name])
            else:
                trial.suggest_float(name, *self._space.ranges[name])
        return trial

    def record_of(self, trial: Any) -> TrialRecord:
        """Return what is known of a trial."""
        return _record(self._study.trials[trial.number])

    def report(self, trial: Any, updates: int, value: float) -> str:
        """Note what validation gave after so many updates; return the trial's state from now on."""
        trial.report(value, step=updates)
        return self._state_after_rung(trial)

    def _state_after_rung(self, trial: Any) -> str:
        """End a trial that has come to its end, or that is not worth going on with; return its state.

        A kill may have come between what validation gave and this.
        """
        states, record = self._optuna.trial.TrialState, self.record_of(trial)
        if record.updates >= self._rungs[-1]:
            self._study.tell(trial, record.reached[record.updates])
        elif record.updates and trial.should_prune():
            self._study.tell(trial, state=states.PRUNED)
        return self.record_of(trial).state

    @property
    def records(self) -> list[TrialRecord]:
        """All trials that have begun."""
        waiting = self._optuna.trial.TrialState.WAITING
        return [_record(trial) for trial in self._study.trials if trial.state != waiting]

    @property
    def spent(self) -> int:
        """Updates of all trials together, so far as they were compared."""
        return sum(record.updates for record in self.records)


def _record(trial: Any) -> TrialRecord:
    return TrialRecord(
        trial.number, dict(trial.params), dict(trial.intermediate_values), trial.state.name.lower()
    )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError(
            "tune needs optuna, which is not installed; run: pip install 'cmlm-kd[tune]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
