from kg_schema.breaker import BreakerState, CircuitBreaker


def test_it_opens_half_opens_for_one_and_closes() -> None:
    now = [0.0]
    breaker = CircuitBreaker(threshold=3, rest_s=5, clock=lambda: now[0])
    for _ in range(2):
        assert breaker.admit()
        breaker.failed()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.OPEN
    assert not breaker.admit()
    now[0] = 5.0
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit()
    assert not breaker.admit(), "one trial at a time"
    breaker.failed()
    assert breaker.state is BreakerState.OPEN, "one failed trial opens it again"
    now[0] = 10.0
    assert breaker.admit()
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_a_success_forgets_earlier_failures() -> None:
    breaker = CircuitBreaker(threshold=2)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.state is BreakerState.CLOSED


def test_an_abandoned_trial_leaves_room_for_the_next() -> None:
    now = [0.0]
    breaker = CircuitBreaker(threshold=1, rest_s=1, clock=lambda: now[0])
    breaker.failed()
    now[0] = 1.0
    assert breaker.admit()
    breaker.abandoned()
    assert breaker.admit()
