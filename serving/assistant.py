"""The whole path of one ticket as one object, usable with no HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kg_schema.client import (
    GraphClient,
    GraphQueryError,
    GraphSettings,
    GraphTimeout,
    GraphUnavailable,
)
from kg_schema.embeddings import TextEncoder
from serving.answering import abstention, answer_text, compose, evidence
from serving.batching import Batcher
from serving.composition import Composition
from serving.contracts import (
    Answer,
    AnswerText,
    EntityLink,
    IntentPrediction,
    Recommendation,
    ScoredIntent,
    Ticket,
    Versions,
)
from serving.dates import resolve_period
from serving.decision import counts, decide, problem_type_of, seen_intent
from serving.embedding import FOLDER, SentenceEncoder
from serving.facts import FactSet
from serving.intent import IntentModel
from serving.knowledge import Knowledge, KnowledgeCache
from serving.linking import Links
from serving.plans import Plan, Plans, default_plans
from serving.principal import Principal
from serving.ranking import choose_articles, recommend
from serving.retrieval import GraphReader, ReadContext, is_personal, read_facts
from serving.symptoms import MIN_SCORE, symptom_link

_LOG = logging.getLogger(__name__)
_OUTAGES = (GraphUnavailable, GraphTimeout, GraphQueryError)
FALLBACK_OVERLAP = 0.4
PREPARE_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class AssistantSettings:
    """How patient and how fresh an assistant is.

    Attributes:
        graph_deadline_s: Seconds that the graph gets in one request, all reads together.
        catalogue_ttl_s: Seconds after which names are read anew.
        queue_size: Tickets that may wait for the intent model.
        max_batch: Tickets of one call of the intent model. 1 unless told: an int8 graph scales over
            its batch, so that company would shift a ticket's scores, and gains next to nothing.
        encoder: Folder of the sentence encoder that embedded the graph's articles; None takes
            the one in the model's folder. With neither, articles are found by their words alone.
    """

    graph_deadline_s: float = 5.0
    catalogue_ttl_s: float = 30.0
    queue_size: int = 64
    max_batch: int = 1
    encoder: Path | None = None


class IntentClassifier(Protocol):
    """What predicts intents: `IntentModel`, or another with its shape."""

    version: str

    @property
    def out_of_scope_threshold(self) -> float:
        """A confidence below it means that no intent is meant."""

    def predict(self, texts: Sequence[str]) -> list[IntentPrediction]:
        """One prediction a text."""


@dataclass(slots=True)
class _Path:
    """What becomes of one ticket on its way."""

    text: str
    as_of: date
    principal: Principal
    intent: IntentPrediction
    plan: Plan | None = None
    links: dict[str, list[EntityLink]] = field(default_factory=dict)
    facts: FactSet = field(default_factory=lambda: FactSet(()))
    recommendations: list[Recommendation] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    latency_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - start) * 1000
            self.latency_ms[step] = round(self.latency_ms.get(step, 0.0) + spent, 3)


class Assistant:
    """Answers tickets from one intent model and one graph; safe to share between requests.

    Args:
        classifier: The intent model.
        graph: Reader of the graph; None for none, and every answer then abstains.
        settings: Patience and freshness.
        plans: What each intent takes to answer; the package's own where None.
        encoder: Embeds questions, so that articles are found by their meaning too; None for none.
    """

    def __init__(
        self,
        classifier: IntentClassifier,
        graph: GraphReader | None,
        settings: AssistantSettings | None = None,
        plans: Plans | None = None,
        encoder: TextEncoder | None = None,
    ) -> None:
        self._classifier = classifier
        self._graph = graph
        self._encoder = encoder
        self._settings = settings or AssistantSettings()
        self._plans = plans or default_plans()
        self._preparing: asyncio.Task[frozenset[str]] | None = None
        self._knowledge = KnowledgeCache(graph, self._settings.catalogue_ttl_s) if graph else None
        self._batcher: Batcher[str, IntentPrediction] = Batcher(
            classifier.predict,
            capacity=self._settings.queue_size,
            max_batch=self._settings.max_batch,
        )

    @classmethod
    def open(
        cls,
        model_dir: Path,
        graph_settings: GraphSettings | None,
        settings: AssistantSettings | None = None,
    ) -> Self:
        """Opens a sealed model directory and, with its first read, the graph.

        Raises:
            ManifestError: The directory, or the encoder's, is not whole, or no model to be served.
        """
        graph = GraphClient(graph_settings) if graph_settings else None
        folder = settings.encoder if settings else None
        own = model_dir / FOLDER
        folder = folder or (own if own.is_dir() else None)
        encoder = SentenceEncoder(folder) if graph and folder else None
        return cls(IntentModel(model_dir), graph, settings, encoder=encoder)

    async def prepare(self, patience_s: float = PREPARE_PATIENCE_S) -> None:
        """Lets a graph that is up plan its templates; what takes longer goes on behind requests.

        The log says how it ended.
        """
        if isinstance(self._graph, GraphClient) and self._preparing is None:
            self._preparing = asyncio.create_task(self._graph.prepare())
            self._preparing.add_done_callback(_tell_prepared)
            await asyncio.wait({self._preparing}, timeout=patience_s)

    async def close(self) -> None:
        """Finishes what waits for the model and closes the graph's connections."""
        await self._batcher.stop()
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait({self._preparing})
        if self._knowledge is not None:
            await self._knowledge.close()
        if isinstance(self._graph, GraphClient):
            await self._graph.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def classify(self, text: str) -> IntentPrediction:
        """The intent of a text, computed together with whatever else waits.

        Raises:
            Overloaded: Too many tickets wait.
        """
        return await self._batcher.submit(text)

    def seen_intent(self, answer: Answer) -> ScoredIntent:
        """What the intent model alone saw in an answer's ticket; see `decision.seen_intent`."""
        threshold = self._classifier.out_of_scope_threshold
        return seen_intent(answer.intent, threshold, self._plans)

    async def answer(self, ticket: Ticket, principal: Principal) -> Answer:
        """Answers a ticket for whoever asks.

        A graph that is down or slow degrades the answer (it abstains, the intent is still
        given); nothing of another customer is ever read.

        Raises:
            Overloaded: Too many tickets wait for the intent model.
        """
        start = time.perf_counter()
        prediction = await self.classify(ticket.content)
        spent = (time.perf_counter() - start) * 1000
        return await self._run(ticket, principal, prediction, {"intent": round(spent, 3)})

    async def answer_with_intent(
        self, ticket: Ticket, principal: Principal, intent: str | IntentPrediction
    ) -> Answer:
        """Answers a ticket whose intent is known, so that the rest can be measured alone."""
        if isinstance(intent, str):
            intent = IntentPrediction(label=intent, confidence=1.0)
        return await self._run(ticket, principal, intent, {})

    async def _run(
        self,
        ticket: Ticket,
        principal: Principal,
        prediction: IntentPrediction,
        latency_ms: dict[str, float],
    ) -> Answer:
        start = time.perf_counter()
        as_of = ticket.as_of or datetime.now(UTC).date()
        path = _Path(ticket.content, as_of, principal, prediction, latency_ms=latency_ms)
        path.plan = self._plans.intents.get(prediction.label)
        graph_version: str | None = None
        try:
            if self._graph is None or self._knowledge is None:
                path.degraded.append("graph")
                said = abstention("no graph is connected")
            else:
                with path.timed("catalogue"):
                    knowledge = await self._knowledge.get(self._settings.graph_deadline_s)
                graph_version = knowledge.version
                said = await self._answer(path, knowledge, self._graph)
        except _OUTAGES as error:
            _LOG.warning("answering without the graph: %s", error)
            path.degraded.append("graph")
            path.facts, path.recommendations = FactSet(()), []
            said = abstention("the knowledge graph cannot be read at the moment")
        total = latency_ms.get("intent", 0.0) + (time.perf_counter() - start) * 1000
        path.latency_ms["total"] = round(total, 3)
        return self._finish(path, said, graph_version)

    def _finish(self, path: _Path, said: AnswerText, graph_version: str | None) -> Answer:
        return Answer(
            intent=path.intent,
            problem_type=problem_type_of(path.plan, path.links),
            entities=tuple(link for links in path.links.values() for link in links),
            recommendations=tuple(path.recommendations),
            answer=said,
            facts=evidence(path.facts, said, path.recommendations),
            as_of=path.as_of,
            versions=Versions(model=self._classifier.version, graph=graph_version),
            degraded=tuple(path.degraded),
            latency_ms=path.latency_ms,
        )

    async def _answer(self, path: _Path, knowledge: Knowledge, graph: GraphReader) -> AnswerText:
        with path.timed("link"):
            links = knowledge.linker.link(path.text)
            path.links = _by_label(links)
            unsure = path.intent.confidence < self._classifier.out_of_scope_threshold
            path.intent = decide(path.intent, path.links, self._plans)
        label = path.intent.label
        path.plan = self._plans.intents.get(label)
        if label in self._plans.out_of_scope or unsure:
            return abstention("the question is out of scope")
        plan = path.plan or self._plans.fallback
        if plan.wants("Symptom"):
            with path.timed("link"):
                await self._link_symptom(path, knowledge, graph)
        refusal = self._refusal(path, plan, links)
        if refusal is not None:
            return refusal
        return await self._read_and_compose(path, plan, knowledge, graph)

    async def _link_symptom(self, path: _Path, knowledge: Knowledge, graph: GraphReader) -> None:
        products = [link.id for link in path.links.get("Product", [])]
        if not products:
            return
        rows = await graph.read(
            "product_symptoms",
            {"product_ids": products[:10], "limit": 1000},
            deadline_s=self._settings.graph_deadline_s,
        )
        found = dict.fromkeys(f"{row.object_label}/{row.object_id}" for row in rows)
        known = [node for ref in found if (node := knowledge.catalogue.get(ref)) is not None]
        topics = {item.label: item.confidence for item in path.intent.alternatives}
        topics[path.intent.label] = path.intent.confidence
        ranked = knowledge.symptoms.rank(path.text, known, topics)
        if ranked and ranked[0].score >= MIN_SCORE:
            path.links["Symptom"] = [symptom_link(path.text, ranked[0])]

    def _refusal(self, path: _Path, plan: Plan, links: Links) -> AnswerText | None:
        """Why the plan cannot be followed, None where it can."""
        linked = counts(path.links)
        missing = plan.missing(linked)
        for mention in links.unlinked:
            short = mention.label in missing or not linked.get(mention.label)
            if mention.label in plan.labels and short:
                return abstention(f"nothing known is called {mention.text!r}")
        if missing:
            questions = " ".join(
                self._plans.questions.get(label, "") for label in dict.fromkeys(missing)
            )
            reason = f"the question names no {' and no '.join(dict.fromkeys(missing))}"
            return abstention(reason, questions.strip())
        if "Order" in plan.labels and path.links.get("Order") and not path.principal.customer_id:
            return abstention(
                "orders are told to their own customer only",
                "Please sign in, so that I can look at your order.",
            )
        return None

    async def _read_and_compose(
        self, path: _Path, plan: Plan, knowledge: Knowledge, graph: GraphReader
    ) -> AnswerText:
        context = self._context(path, plan, knowledge)
        if self._encoder is not None and "articles_by_vector" in plan.reads:
            with path.timed("embed"):
                (vector,) = await asyncio.to_thread(self._encoder.encode, [path.text])
            context = replace(context, vector=vector, vector_model=self._encoder.model)
        with path.timed("read"):
            path.facts = await read_facts(
                graph, plan.reads, context, self._settings.graph_deadline_s
            )
        if "Order" in plan.labels and not _orders_known(path, plan, graph):
            return abstention("there is no such order of this customer")
        with path.timed("compose"):
            if plan.choose:
                _keep_articles(path, plan.choose, context.categories)
            c = self._composition(path, plan, context, knowledge)
            grounded = compose(c, knowledge.linker)
            cited = {fact.id for draft in grounded.kept for fact in draft.facts}
            path.recommendations = recommend(c, cited)
        if grounded.dropped:
            count = len(grounded.dropped)
            _LOG.warning("%s: dropped %d claims their facts do not carry", path.intent.label, count)
        if grounded.kept:
            return answer_text(grounded.kept)
        path.recommendations = []
        if path.plan is None:
            return abstention(f"no answer plan for intent {path.intent.label!r}")
        return abstention("the graph holds no facts that answer this")

    def _context(self, path: _Path, plan: Plan, knowledge: Knowledge) -> ReadContext:
        return ReadContext(
            text=path.text,
            topic=plan.topic or path.intent.label,
            as_of=path.as_of,
            period=resolve_period(path.text, path.as_of),
            principal=path.principal,
            links=path.links,
            categories=knowledge.categories_of(path.links.get("Product", [])),
        )

    def _composition(
        self, path: _Path, plan: Plan, context: ReadContext, knowledge: Knowledge
    ) -> Composition:
        return Composition(
            text=path.text,
            as_of=path.as_of,
            period=context.period,
            links=path.links,
            facts=path.facts,
            plan=plan,
            sentences=self._plans.sentences,
            catalogue=knowledge.catalogue,
        )


def _orders_known(path: _Path, plan: Plan, graph: GraphReader) -> bool:
    """Whether the reader's own orders hold every order named, where the plan reads orders."""
    if not any(is_personal(graph.templates[name]) for name in plan.reads):
        return True
    orders = path.links.get("Order", [])
    told = ("placed_on", "status")
    return all(any(path.facts.first(f"Order/{o.id}", key) for key in told) for o in orders)


def _tell_prepared(preparing: asyncio.Task[frozenset[str]]) -> None:
    if preparing.cancelled():
        return
    error = preparing.exception()
    if isinstance(error, _OUTAGES):
        _LOG.warning("the graph's templates are planned when they are asked: %s", error)
    elif error is not None:
        _LOG.error("the graph's templates were not planned", exc_info=error)
    else:
        refused = ", ".join(sorted(preparing.result())) or "none"
        _LOG.info("the graph's templates are planned; refused: %s", refused)


def _by_label(links: Links) -> dict[str, list[EntityLink]]:
    labels = dict.fromkeys(link.label for link in (*links.entities, *links.nested))
    return {label: links.of(label) for label in labels}


def _keep_articles(path: _Path, count: int, categories: Sequence[str]) -> None:
    """Leaves the facts of the articles that fit best; without a plan they must fit well."""
    about = {f"{label}/{link.id}" for label, found in path.links.items() for link in found}
    about |= {f"Category/{category}" for category in categories}
    least = None if path.plan else FALLBACK_OVERLAP
    chosen = choose_articles(path.facts, path.text, about, count, least)
    others = {fact.subject for fact in path.facts.matching("Article", "body")} - set(chosen)
    path.facts = path.facts.without(others)
