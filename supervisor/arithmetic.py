"""What the whole tree of processes may need at the most, against the limit around it.

A page counts once, however many processes hold it. So a child at its hard budget adds that budget less the pages that
are the parent's too, and the sum is

    parent + children x (hard - shared) + successors + status + janitor + retry pass + reserve

The successors are idle children: one that waits for its predecessor to go, and one that may boot for the next
replacement meanwhile. Without them the rest can run, but each replacement leaves a gap: that is the least that must
fit. What S3 or the LLM load where they are in use is the parent's, and with it mostly shared. Constants are upper
bounds (of what is shared: a lower one) of what was measured (docs/decisions/0010-memory-arithmetic.md);
tests/process/test_cli.py holds them against the real processes.
"""

from dataclasses import dataclass, replace

from supervisor.limits import MB

PARENT_BYTES = 52 * MB
"""Resident, all code loaded and rehearsed: 46.0 to 46.9 MB on Python 3.11 to 3.13 before the rehearsal."""

SHARED_BYTES = 24 * MB
"""Of a child's resident pages, those that it holds together with the parent: 26.9 to 28.6 MB when it is fresh, 25.4 to
27.4 MB after messages of 3 and of 60 MB. It only shrinks, as pages are written to, and hardly so after the first
messages."""

IDLE_CHILD_BYTES = 18 * MB
"""Of an idle child's pages, its own: 8.7 to 10.1 MB when fresh, 12.7 to 15.2 MB after these messages."""

SUCCESSORS_BYTES = 22 * MB
"""Two fresh children's own pages."""

IDLE_RSS_BYTES = 44 * MB
"""What an idle child weighs, shared pages included: 36.5 to 37.7 MB when fresh, 39.2 to 42.3 MB after these
messages. It maps less of the libraries' files than the parent does."""

STATUS_BYTES = 24 * MB
"""The status process's own pages, asked for its metrics and its page: 15.7 to 16.2 MB, of which the server takes 5; and
what it may grow by before it is replaced (supervisor/status/server.py)."""

JANITOR_BYTES = 8 * MB
"""The janitor's own pages, eight accounts written: 6.0 MB."""

RETRY_BYTES = 12 * MB
"""The retry pass's own pages, 5,000 rows published: 9.0 MB."""

RESERVE_BYTES = 64 * MB
"""What no process shows: page tables, kernel stacks and sockets (3.2 MB seen with eight busy children), page cache
(4.5 MB), and what nobody thought of."""


@dataclass(frozen=True, slots=True)
class Load:
    """What an option in use loads before the fork, and works with after it.

    parent_bytes: that the parent gains. shared_bytes: of these, what every child goes on sharing (a lower bound).
    own_bytes: that an idle child gains besides, after messages; fresh_bytes: when it has had none.
    """

    parent_bytes: int = 0
    shared_bytes: int = 0
    own_bytes: int = 0
    fresh_bytes: int = 0

    @property
    def idle_rss_bytes(self) -> int:
        """What an idle child gains in all."""
        return self.parent_bytes + self.own_bytes

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.parent_bytes + other.parent_bytes,
            self.shared_bytes + other.shared_bytes,
            self.own_bytes + other.own_bytes,
            self.fresh_bytes + other.fresh_bytes,
        )


NO_LOAD = Load()
S3_LOAD = Load(parent_bytes=10 * MB, shared_bytes=6 * MB, own_bytes=5 * MB, fresh_bytes=2 * MB)
"""Measured: 8.2, 6.4, 4.3 and 1.7 MB (docs/decisions/0021-logs-in-s3.md)."""

ROLE_LOAD = Load(parent_bytes=8 * MB, shared_bytes=6 * MB, own_bytes=2 * MB)
"""What a web identity adds to S3, whose credentials are asked of STS. Both together: 15.9, 12.7, 6.0 and 0.4 MB."""

LLM_LOAD = Load(parent_bytes=3 * MB, shared_bytes=0, own_bytes=3 * MB, fresh_bytes=MB)
"""Measured: 2.0, 0.6, 2.2 and 0.8 MB (docs/decisions/0022-llm-analysis.md)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One part of the sum."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What so many children, each of at most hard_bytes, may need together with all that surrounds them."""

    children: int
    hard_bytes: int
    load: Load = NO_LOAD

    @property
    def shared_bytes(self) -> int:
        """Return what of a child's pages is the parent's too."""
        return SHARED_BYTES + self.load.shared_bytes

    @property
    def least_own_bytes(self) -> int:
        """Return what an idle child adds, which each does, however small its budget."""
        return IDLE_CHILD_BYTES + self.load.own_bytes

    @property
    def each_bytes(self) -> int:
        """Return what a child adds."""
        return max(self.hard_bytes - self.shared_bytes, self.least_own_bytes)

    @property
    def successors_bytes(self) -> int:
        """Return what the two successors add."""
        return SUCCESSORS_BYTES + 2 * self.load.fresh_bytes

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return the parts of the sum, in the order of the module's docstring."""
        return (
            Term("parent", PARENT_BYTES + self.load.parent_bytes),
            Term("children", self.children * self.each_bytes),
            Term("successors", self.successors_bytes),
            Term("status", STATUS_BYTES),
            Term("janitor", JANITOR_BYTES),
            Term("retry pass", RETRY_BYTES),
            Term("reserve", RESERVE_BYTES),
        )

    @property
    def total_bytes(self) -> int:
        """Return the whole sum."""
        return sum(term.size_bytes for term in self.terms)

    @property
    def least_bytes(self) -> int:
        """Return the sum without successors."""
        return self.total_bytes - self.successors_bytes

    def spelled(self, *, successor: bool) -> str:
        """Write the sum as it is added, in MB."""
        # No child is lighter than an idle one
        hard_bytes = self.shared_bytes + self.each_bytes
        children = f"{self.children} x ({hard_bytes / MB:g} - {self.shared_bytes // MB} shared)"
        return " + ".join(
            children if term.name == "children" else f"{term.name} {term.size_bytes // MB}"
            for term in self.terms
            if successor or term.name != "successors"
        )


@dataclass(frozen=True, slots=True)
class Balance:
    """A demand held against a limit; limit_bytes None: there is none, and everything fits."""

    demand: Demand
    limit_bytes: int | None

    @property
    def fits(self) -> bool:
        """Say whether all but the successors fits."""
        return self.limit_bytes is None or self.demand.least_bytes <= self.limit_bytes

    @property
    def room_for_successor(self) -> bool:
        """Say whether the successors fit, too."""
        return self.limit_bytes is None or self.demand.total_bytes <= self.limit_bytes

    @property
    def most_children(self) -> int:
        """Return the largest number of children that fits with this hard budget; 0: not even one, or no limit."""
        return self._most(successor=False)

    @property
    def children_max(self) -> int:
        """Return how many children may be asked for while running; 0 without a limit.

        With room for a successor that room is kept. A number that was allowed at the start stays allowed.
        """
        if self.limit_bytes is None:
            return 0
        return max(self.demand.children, self._most(successor=self.room_for_successor))

    @property
    def largest_hard_bytes(self) -> int:
        """Return the largest hard budget that fits with so many children; 0: none, or no limit."""
        if self.limit_bytes is None:
            return 0
        each = (self.limit_bytes - self._around.least_bytes) // self.demand.children
        return each + self.demand.shared_bytes if each >= self.demand.least_own_bytes else 0

    @property
    def _around(self) -> Demand:
        """The demand without a child."""
        return replace(self.demand, children=0)

    def _most(self, *, successor: bool) -> int:
        if self.limit_bytes is None:
            return 0
        around = self._around
        left = self.limit_bytes - (around.total_bytes if successor else around.least_bytes)
        return max(0, left // self.demand.each_bytes)
