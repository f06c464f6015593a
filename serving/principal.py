"""Who is asking: decided by the caller's proof, never by what a ticket says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

Role = Literal["customer", "agent", "anonymous"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The person an answer is for.

    Attributes:
        role: `customer` reads their own orders; `agent` those of the customer they serve;
            `anonymous` no personal data at all.
        customer_id: Whose orders may be read; None for nobody's.
    """

    role: Role = "anonymous"
    customer_id: str | None = None

    def __post_init__(self) -> None:
        if self.role == "customer" and not self.customer_id:
            raise ValueError("a customer principal needs a customer_id")
        if self.role == "anonymous" and self.customer_id is not None:
            raise ValueError("an anonymous principal has no customer_id")

    @classmethod
    def anonymous(cls) -> Self:
        """Somebody unknown."""
        return cls()

    @classmethod
    def customer(cls, customer_id: str) -> Self:
        """A customer whose identity the caller has verified."""
        return cls("customer", customer_id)

    @classmethod
    def agent(cls, customer_id: str | None = None) -> Self:
        """A member of staff, serving the given customer or nobody in particular."""
        return cls("agent", customer_id)
