"""The HTTPRoute that holds a roll-out's state and weights, as it is moved from state to state."""

from __future__ import annotations

import time

from components.cluster import HTTP_ROUTE, Cluster, ClusterConflict
from components.deploy.deployment import DeployError
from components.deploy.objects import RouteState, accepted, http_route
from components.deploy.settings import RolloutSettings
from components.deploy.target import KserveTarget

WRITE_ATTEMPTS = 10


class Route:
    """A target's route.

    Args:
        cluster: The target's namespace.
        target: Whose route.
        settings: How patient.

    Attributes:
        state: What it said when it was read or written last.
    """

    def __init__(self, cluster: Cluster, target: KserveTarget, settings: RolloutSettings) -> None:
        self._cluster = cluster
        self._target = target
        self._settings = settings
        self.state = RouteState.of(cluster.get(HTTP_ROUTE, target.name))

    def move(self, state: RouteState) -> None:
        """Writes a state, where the route still says what was read.

        Raises:
            ClusterConflict: Somebody else has moved the roll-out on.
        """
        for _ in range(WRITE_ATTEMPTS):
            found = self._cluster.get(HTTP_ROUTE, self._target.name)
            seen = RouteState.of(found)
            if seen == state != self.state:
                self.state = state  # written, though the answer was lost
                return
            if seen != self.state:
                break
            body = http_route(self._target, state, found)
            try:
                if found is None:
                    made = self._cluster.create(HTTP_ROUTE, body)
                else:
                    made = self._cluster.replace(HTTP_ROUTE, body)
            except ClusterConflict:
                continue  # its status, mostly: the gateway writes it
            if RouteState.of(made) != state:
                break
            self.state = state
            return
        raise ClusterConflict(
            "another roll-out moves it", where=f"HTTPRoute {self._target.name}", fix="wait for it"
        )

    def await_taken(self) -> None:
        """Waits until the gateway has taken the route as it was written last.

        Raises:
            DeployError: It did not in `settle_s`.
        """
        target = self._target
        deadline = time.monotonic() + self._settings.settle_s
        while True:
            route = self._cluster.get(HTTP_ROUTE, target.name)
            taken, said = accepted(target, route) if route else (False, "it is gone")
            if taken:
                return
            if time.monotonic() > deadline:
                raise DeployError(
                    f"gateway {target.gateway_namespace}/{target.gateway_name} does not take the "
                    f"route: {said}",
                    where=f"HTTPRoute {target.name}",
                )
            time.sleep(self._settings.poll_s)
