"""Carries out commands at a running daemon: reload, shadow, promote, roll back.

Theory of operation. Commands come from a signal or from the API, and one thread carries
them out, one after the other. Each has two phases, as a commit has. In the first, all
that can fail is done beside the loop (:mod:`detector.reload.prepare`). In the second,
the loop puts the value in force between two polls
(:mod:`detector.consumer.boundary`). What fails in either leaves all as it was, and says
what, where and how to correct it: in the log, on the page, in the answer, and in
``detector_reloads_total``. What follows an exchange, such as the shadow that the
settings name, can't undo it: a fault there is part of the answer.

The settings file is the truth. A bundle that a command puts in force beside it is in
force until the next restart, and the status says what that would change. A reload is
refused if it would put the bundle back that the command replaced, unless the setting
has changed since. A shadow that a command began stays until a restart, a reload of
another ``shadow``, or a promotion.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Final, TypeVar

import structlog

from detector.clock import Clock
from detector.consumer.boundary import Boundary, Exchanged
from detector.errors import ConfigError, DetectorError, ResetCause
from detector.metrics import ControlCommand, Metrics
from detector.model.bundle import Bundle, bundle_path
from detector.phrases import listed
from detector.pipeline.parts import Setup
from detector.pipeline.shadow import Shadow
from detector.reload.changed_settings import changed, need_restart, restart_sentence
from detector.reload.prepare import Prepared, Preparer
from detector.settings.load import Settings
from detector.web.control import Asked, Compared, Done
from detector.web.facts import (
    APPLIED,
    REFUSED,
    BundleName,
    ControlState,
    LastCommand,
    ShadowFacts,
)

#: Seconds that the loop has to come to the moment between two polls.
LOOP_TIMEOUT: Final = 60.0
#: Of the streams that had a point, those that a shadow must have warmed up for. Not
#: all: new streams come at any time.
WARM_SHARE: Final = 0.95

_T = TypeVar("_T")
_Job = Callable[[], None]


def _nothing() -> None:
    """Nothing follows."""


class Reloader:
    """Implements Control. ``load`` reads the settings again, as a start does;
    ``on_change`` is told what was in force, and what is.
    """

    def __init__(
        self,
        in_force: Prepared,
        preparer: Preparer,
        load: Callable[[], Settings],
        boundary: Boundary,
        on_change: Callable[[Prepared, Prepared], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._in_force = in_force
        self._configured = in_force.settings
        self._before: Prepared | None = None
        self._replaced = ""  # digest of the bundle that a command took out of force
        self._preparer = preparer
        self._load = load
        self._boundary = boundary
        self._on_change = on_change
        self._metrics = metrics
        self._clock = clock
        self._last: LastCommand | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="reload", daemon=True)
        self._log = structlog.get_logger("reload")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no other command. One that is under way is left behind."""
        self._jobs.put(None)

    # -- Control -----------------------------------------------------------------------

    def submit(self, command: ControlCommand, asked: Asked) -> Future[Done]:
        future: Future[Done] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(self._carry_out(command, asked))
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def state(self) -> ControlState:
        beside = self._boundary.beside
        shadow = beside.shadow
        facts = None
        if shadow is not None:
            facts = ShadowFacts(_name(shadow.setup.bundle), shadow.since)
        at_restart = changed(self._in_force.settings, self._configured)
        return ControlState(self._last, facts, beside.fault, at_restart)

    def compared(self) -> Compared | None:
        shadow = self._boundary.beside.shadow
        if shadow is None:
            return None
        return Compared(
            live=_name(shadow.live.bundle),
            shadow=_name(shadow.setup.bundle),
            since=shadow.since,
            budget=shadow.live.tuning.false_alarms_per_week,
            report=shadow.comparison.report(),
        )

    # -- one command after the other ---------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _carry_out(self, command: ControlCommand, asked: Asked) -> Done:
        """Raises DetectorError if nothing was changed."""
        try:
            done = self._do(command, asked)
        except DetectorError as error:
            self._refuse(command, str(error))
            raise
        # The top of a command: a fault of ours must not pass unsaid, since a signal
        # waits for no answer.
        except Exception as error:
            trace = "".join(traceback.format_tb(error.__traceback__))
            cause = f"a fault of the program ({type(error).__name__}): please report it"
            self._refuse(command, cause, trace=trace)
            raise ConfigError(cause) from error
        self._note(command, APPLIED, done.message)
        self._log.info(
            "changed",
            command=command.value,
            settings=",".join(done.changed) or "none",
            bundle=str(self._in_force.setup.bundle.path),
            streams=done.streams,
            warming_up=done.cold,
            seconds=round(done.seconds, 3),
        )
        return done

    def _refuse(self, command: ControlCommand, cause: str, **more: str) -> None:
        self._note(command, REFUSED, cause)
        self._log.error(
            "change_refused",
            command=command.value,
            cause=cause,
            note="what was in force before stays in force",
            **more,
        )

    def _do(self, command: ControlCommand, asked: Asked) -> Done:
        if command is ControlCommand.RELOAD:
            return self._reload()
        if command is ControlCommand.SHADOW:
            return self._shadow(asked.bundle)
        if command is ControlCommand.PROMOTE:
            return self._promote(asked.anyway)
        return self._roll_back()

    def _note(self, command: ControlCommand, result: str, message: str) -> None:
        at = self._clock.wall()
        self._last = LastCommand(command.value, result, message, at)
        self._metrics.reloads.labels(command.value, result).inc()
        if command is ControlCommand.RELOAD:
            self._metrics.last_reload.set(result == APPLIED)

    # -- the commands ------------------------------------------------------------------

    def _reload(self) -> Done:
        settings = self._load()
        refused = need_restart(self._in_force.settings, settings)
        if refused:
            raise ConfigError(restart_sentence(refused))
        wanted = self._preparer.prepare(settings, self._in_force)
        self._check_returns(wanted)
        is_moved = settings.model.shadow != self._configured.model.shadow
        shadow = self._preparer.configured_shadow(wanted) if is_moved else None

        def follow_shadow() -> None:
            if shadow is not None:
                self._boundary.shadow(shadow)
            elif is_moved:
                self._boundary.end_shadow()

        done = self._put_in_force(wanted, follow_shadow)
        self._configured = settings
        self._replaced = ""
        return done

    def _check_returns(self, wanted: Prepared) -> None:
        """Raises ConfigError if a reload would undo a command, and nobody said so."""
        named = wanted.settings.model.bundle
        is_named_anew = named != self._configured.model.bundle
        if is_named_anew or wanted.setup.bundle.digest != self._replaced:
            return
        raise ConfigError(
            f"a reload would put {named} back in force: the settings still name it,"
            f" and a command has replaced it by {self._in_force.setup.bundle.path}."
            " Name that one in DETECTOR_MODEL__BUNDLE, or go back first with"
            " `streamwarden rollback`"
        )

    def _shadow(self, named: str) -> Done:
        if not named:
            self._hand_over(self._boundary.end_shadow)
            return Done("no bundle runs in shadow any more")
        path = bundle_path(named)
        setup = self._preparer.shadow(self._in_force, path)
        streams = self._hand_over(lambda: self._boundary.shadow(setup))
        return Done(
            f"{path} scores beside {self._in_force.setup.bundle.path}, and its network"
            " warms up; its alerts are only counted. `streamwarden compare` shows the"
            " difference",
            streams=streams,
            cold=streams,
        )

    def _promote(self, anyway: bool) -> Done:
        shadow = self._boundary.beside.shadow
        if shadow is None:
            raise ConfigError(
                "no bundle runs in shadow: begin with `streamwarden shadow BUNDLE`"
            )
        share = shadow.comparison.warm_share()
        if share < WARM_SHARE and not anyway:
            raise ConfigError(
                f"the shadow has warmed up for {share:.0%} of the streams that had a"
                " point since it began: wait, or promote it with --anyway"
            )
        wanted = self._in_force.with_bundle_of(shadow.setup)
        return self._exchange_by_command(wanted, shadow)

    def _roll_back(self) -> Done:
        if self._before is None:
            raise ConfigError(
                "nothing was changed since the daemon started: nothing to go back to"
            )
        return self._exchange_by_command(self._before)

    def _exchange_by_command(
        self, wanted: Prepared, checked: Shadow | None = None
    ) -> Done:
        before = self._in_force.setup.bundle.digest
        done = self._put_in_force(wanted, checked=checked)
        if wanted.setup.bundle.digest != before:
            self._replaced = before
        return done

    def _put_in_force(
        self,
        wanted: Prepared,
        follow: Callable[[], None] = _nothing,
        checked: Shadow | None = None,
    ) -> Done:
        """Phase two, with what follows it at once.

        Raises ConfigError or StoreError; all is as before then.
        """
        before = self._in_force

        def exchange() -> tuple[Exchanged, str]:
            configuration = wanted.configuration()
            exchanged = self._boundary.put_in_force(configuration, checked)
            return exchanged, self._fault_of("the shadow", follow)

        exchanged, fault = self._hand_over(exchange)
        self._in_force = wanted
        self._before = before
        resets = self._metrics.state_resets.labels(ResetCause.TAKEN_OVER.value)
        resets.inc(exchanged.cold)
        fault += self._fault_of(
            "receivers, metrics and log", lambda: self._on_change(before, wanted)
        )
        names = changed(before.settings, wanted.settings)
        return Done(
            _sentence(before.setup, wanted.setup, names, exchanged) + fault,
            names,
            exchanged.streams,
            exchanged.cold,
            exchanged.seconds,
        )

    def _fault_of(self, what: str, step: Callable[[], None]) -> str:
        """Do what follows an exchange, which is made; a clause on its fault, or ""."""
        try:
            step()
        # The exchange can't be undone here: whatever fails is told beside it.
        except Exception as error:  # noqa: BLE001
            cause = f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_tb(error.__traceback__))
            self._log.error("change_incomplete", what=what, cause=cause, trace=trace)
            return f"; but {what} did not follow ({cause}): reload again, or restart"
        return ""

    def _hand_over(self, job: Callable[[], _T]) -> _T:
        """Let the loop do it between two polls. Raises what it raises."""
        future = self._boundary.changes.submit(job)
        try:
            return future.result(LOOP_TIMEOUT)
        except NotInTime:
            if not future.cancel():  # it is being done
                return future.result()
            raise ConfigError(
                f"the loop did not come to it within {LOOP_TIMEOUT:.0f} s, and nothing"
                " was changed: /-/ready says what the daemon waits for"
            ) from None


def _name(bundle: Bundle) -> BundleName:
    manifest = bundle.manifest
    return BundleName(manifest.name, manifest.version, bundle.digest)


def _sentence(
    before: Setup, after: Setup, names: Sequence[str], exchanged: Exchanged
) -> str:
    """What is in force now."""
    settings = f"in force with other values: {listed(names, len(names))}"
    if after.bundle.digest == before.bundle.digest:
        return settings if names else "nothing has changed, and all is in force again"
    warm = exchanged.streams - exchanged.cold
    sentence = (
        f"{after.bundle.path} is in force in place of {before.bundle.path}; of"
        f" {exchanged.streams:,} streams {warm:,} go on warm, {exchanged.cold:,} warm up"
    )
    return f"{sentence}; {settings}" if names else sentence
