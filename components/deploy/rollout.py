"""A roll-out: the new version beside the old one, more traffic step by step, or all of it back.

Whatever it has reached stands in the cluster (see `RouteState`), so that a deploy step that was
ended in the middle goes on there when it is started again.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from components.cluster import Cluster, ClusterAway, ClusterConflict, ClusterError
from components.deploy.analysis import Evidence, breaches
from components.deploy.deployment import DeployError
from components.deploy.metrics import Counts, Window
from components.deploy.objects import DIGEST, Release, RouteState
from components.deploy.reach import Reach
from components.deploy.replay import SMOKE, Gateway, ReplayTicket, compare
from components.deploy.route import Route
from components.deploy.service import Services
from components.deploy.settings import RolloutSettings
from components.deploy.smoke import AnswerCheck
from components.deploy.target import KserveTarget
from kg_schema.errors import DeskGraphError

MAX_REASON = 1000
PROMOTED, UNCHANGED, ROLLED_BACK = "promoted", "unchanged", "rolled back"

logger = logging.getLogger(__name__)


class RolledBack(DeployError):
    """The new version was taken away again; what served before serves everything."""


@dataclass
class Record:
    """What a roll-out did, for its artifact.

    Attributes:
        version: The version rolled out.
        stable: The version that served before; empty for none.
        outcome: `promoted`, `unchanged`, `rolled back`; empty where it was stopped on the way.
        steps: One row a weight: counts, rates, agreement, breaches, decision.
        lines: What was said, in order.
    """

    version: str = ""
    stable: str = ""
    outcome: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Logs a line and keeps it."""
        logger.info("%s", line)
        self.lines.append(line)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a roll-out is asked for besides its version.

    Attributes:
        tickets: What is replayed; none compares no answers, and the gateway gets the smoke ticket.
        promote: Called when the version serves everything: moves the champion alias.
        run: Who asks; the same run does not try twice what was rolled back.
        at_once: All of the traffic in one step, no comparison, and a canary under way is taken
            away: an operator's word.
    """

    tickets: Sequence[ReplayTicket] = ()
    promote: Callable[[], object] = lambda: None
    run: str = ""
    at_once: bool = False


class Rollout:
    """One version's way to all of the traffic of a target.

    Args:
        target: Where.
        release: What.
        cluster: The target's namespace.
        reach: How this process gets to Services and replicas.
        settings: Weights, thresholds, patience.
        asked: Tickets to replay, and who asks.
        record: Filled as it goes.
    """

    def __init__(
        self,
        target: KserveTarget,
        release: Release,
        cluster: Cluster,
        reach: Reach,
        settings: RolloutSettings,
        asked: Asked,
        record: Record,
    ) -> None:
        self._target = target
        self._release = release
        self._reach = reach
        self._settings = settings
        self._asked = asked
        self._record = record
        self._services = Services(cluster, target, reach, settings)
        self._route = Route(cluster, target, settings)

    @property
    def _state(self) -> RouteState:
        return self._route.state

    def roll_out(self) -> AnswerCheck:
        """Rolls the version out, or goes on with it.

        Returns:
            What it answered before it was sent traffic.

        Raises:
            RolledBack: It did not come up, or did worse than the old one, which serves again.
            ClusterAway: The API server stayed away; the same call goes on from there.
            DeployError: Another roll-out is under way.
        """
        version = self._release.version
        self._look_around()
        self._record.version, self._record.stable = version, self._state.stable
        self._release = self._services.completed(self._release, self._state.stable)
        if self._state.stable == version and not self._state.canary:
            return self._verify()
        if self._state.canary != version:
            now = _now()
            stable, run = self._state.stable, self._asked.run
            self._route.move(RouteState(stable, version, started=now, moved=now, run=run))
        try:
            if self._state.failed:
                raise RolledBack(self._state.failed)  # it was stopped while it rolled back
            check = self._services.bring_up(self._release, self._asked.run)
            self._record.say(f"version {version} is up and answers")
            for weight in self._weights():
                self._step(weight)
        except (ClusterAway, ClusterConflict):
            raise  # nobody's fault, or another's turn: the state stands
        except DeskGraphError as error:
            raise self._roll_back(str(error)) from error
        self._finish()
        return check

    def _look_around(self) -> None:
        """Puts right what an earlier roll-out left, and refuses where one is under way."""
        state, asked = self._state, self._asked
        again = asked.run and (asked.run, self._release.version) == (
            state.run,
            state.failed_version,
        )
        if again and not state.canary:
            self._record.stable, self._record.outcome = state.stable, ROLLED_BACK
            raise RolledBack(f"rolled back: {state.failed}", fix="a new run tries it again")
        if state.canary and state.canary != self._release.version:
            if not (asked.at_once or state.failed or self._abandoned()):
                raise DeployError(
                    f"version {state.canary} is being rolled out, at {state.step}% since "
                    f"{state.moved}",
                    where=f"HTTPRoute {self._target.name}",
                    fix=f"wait for it, or for {self._settings.abandoned_s:g} s without a step",
                )
            self._record.say(f"version {state.canary}, left at {state.step}%, is taken away")
            self._take_away(state.failed or f"abandoned for version {self._release.version}")
        stable = self._state.stable
        if stable and self._services.get(stable) is None:
            self._record.say(f"version {stable} should serve, and is gone")
            self._route.move(replace(self._state, stable=""))

    def _abandoned(self) -> bool:
        quiet = datetime.now(UTC) - datetime.fromisoformat(self._state.moved)
        return quiet > timedelta(seconds=self._settings.abandoned_s)

    def _verify(self) -> AnswerCheck:
        """Asks the version that serves already, and finishes what may be unfinished."""
        self._route.move(self._state)
        check = self._services.check(self._release)
        self._record.say(f"version {self._release.version} serves already and answers")
        self._tidy()
        self._record.outcome = UNCHANGED
        return check

    @property
    def _compares(self) -> bool:
        return bool(self._state.stable) and not self._asked.at_once

    def _weights(self) -> list[int]:
        """Percents that are still to come; 0 compares both before any customer meets the new."""
        if not self._compares:
            return [100]
        return [w for w in (0, *self._settings.weights) if w >= int(self._state.step)]

    def _step(self, weight: int) -> None:
        """Moves to a weight and stays until it is judged.

        Raises:
            RolledBack: The new version must not go on.
        """
        if weight > 0:
            self._route.move(replace(self._state, step=str(weight), moved=_now()))
            self._route.await_taken()
        observe = self._observe if self._compares else self._fill
        with httpx.Client(trust_env=False) as client:
            found, wrong = observe(client, weight)
        self._record.steps.append(found.as_json(wrong))
        self._record.say(f"{found.line()}: {'roll back' if wrong else 'go on'}")
        if wrong:
            raise RolledBack("; ".join(wrong))

    def _observe(self, client: httpx.Client, weight: int) -> tuple[Evidence, list[str]]:
        """Watches both versions until enough is seen, or something that must not be."""
        settings, started = self._settings, time.monotonic()
        services = [self._target.service(v) for v in (self._state.stable, self._release.version)]
        # A new version may be what mends an old one that is broken.
        old = Window(client, self._reach, services[0], required=False)
        new = Window(client, self._reach, services[1])
        tickets, addresses = self._asked.tickets, map(self._reach.service, services)
        agreement = compare(client, tickets, *addresses) if tickets else None
        gateway = self._gateway(client)
        last: Counter[str] = Counter()
        while True:
            found = Evidence(
                weight,
                old.look(),
                new.look(),
                agreement,
                dict(gateway.counts),
                gateway.failure,
                time.monotonic() - started,
            )
            wrong = breaches(found, settings)
            routed = found.new.requests - (agreement.asked if agreement else 0)
            enough = weight == 0 or routed >= settings.min_requests
            if weight == 100:
                enough = enough and set(last) == {self._release.version}
            if not enough and found.seconds > settings.step_timeout_s:
                wrong.append(f"only {routed} requests reached it in {found.seconds:.0f} s")
            if wrong or (enough and (weight == 0 or found.seconds >= settings.observe_s)):
                return found, wrong
            if not enough:
                last = gateway.send(settings.min_requests)
            time.sleep(settings.poll_s)

    def _fill(self, client: httpx.Client, weight: int) -> tuple[Evidence, list[str]]:
        """Waits until the gateway gives nothing but the new version's answers."""
        started = time.monotonic()
        gateway = self._gateway(client)
        while True:
            last = gateway.send(self._settings.min_requests)
            seconds = time.monotonic() - started
            found = Evidence(weight, Counts(), Counts(), None, last, seconds=seconds)
            if set(last) == {self._release.version}:
                return found, []
            if seconds > self._settings.settle_s:
                told = ", ".join(f"{name} {n}" for name, n in sorted(last.items()))
                why = f" ({gateway.failure})" if gateway.failure else ""
                return found, [f"the gateway {self._target.url} does not lead to it: {told}{why}"]
            time.sleep(self._settings.poll_s)

    def _gateway(self, client: httpx.Client) -> Gateway:
        models = {self._release.model: self._release.version}
        stable = self._state.stable
        if stable and (old := self._services.get(stable)):
            models[(old["metadata"].get("annotations") or {}).get(DIGEST, "")[:12]] = stable
        return Gateway(client, self._target, models, itertools.cycle(self._asked.tickets or SMOKE))

    def _finish(self) -> None:
        version, before = self._release.version, self._state.stable
        self._route.move(replace(self._state, stable=version, canary="", step="0", moved=_now()))
        self._tidy()
        self._record.outcome = PROMOTED
        gone = f", version {before} is gone" if before else ""
        self._record.say(f"version {version} serves 100%{gone}")

    def _tidy(self) -> None:
        """Moves the alias to what serves; then nobody needs the other versions' services."""
        self._asked.promote()
        self._services.delete_others(self._release.version)

    def _roll_back(self, reason: str) -> RolledBack:
        version, stable = self._release.version, self._state.stable
        reason = self._state.failed or f"version {version} at {self._state.step}%: {reason}"
        serves = f"version {stable} serves 100%" if stable else "nothing serves"
        try:
            self._take_away(reason[:MAX_REASON])
        except (ClusterAway, ClusterConflict):
            self._record.say(f"to be rolled back: {reason}; a repeated call goes on with that")
            raise
        except ClusterError as error:
            serves = f"it is not wholly taken away: {error}"
        self._record.outcome = ROLLED_BACK
        self._record.say(f"rolled back: {reason}; {serves}")
        return RolledBack(f"rolled back: {reason}; {serves}", where=self._target.name)

    def _take_away(self, reason: str) -> None:
        """Gives the traffic back first, then deletes the canary, then forgets it."""
        canary = self._state.canary
        self._route.move(replace(self._state, failed=reason, failed_version=canary))
        if self._state.stable and int(self._state.step) > 0:
            try:
                self._route.await_taken()
            except DeployError as error:
                self._record.say(f"{error}; version {canary} is taken away all the same")
        self._services.delete(canary)
        self._route.move(replace(self._state, canary="", step="0"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
