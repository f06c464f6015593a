"""How an answer reads on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def answer_lines(answer: Mapping[str, Any]) -> list[str]:
    """Formats an answer (its JSON form) for a terminal: the claims, then the facts they cite."""
    if "answer" not in answer:
        return [f"  {answer.get('text', '')}"]
    said, intent = answer["answer"], answer["intent"]
    lines = [f"  intent {intent['label']} ({intent['confidence']:.2f}), {answer['problem_type']}"]
    if answer["entities"]:
        names = ", ".join(f"{e['label']} {e['id']} ({e['text']!r})" for e in answer["entities"])
        lines.append(f"  linked {names}")
    if said["abstained"]:
        lines.append(f"  no answer: {said['reason']}")
    numbers: dict[str, int] = {}
    for claim in said["claims"]:
        marks = sorted(numbers.setdefault(fact, len(numbers) + 1) for fact in claim["facts"])
        lines.append(f"  {claim['text']} [{', '.join(map(str, marks))}]")
    facts = {fact["id"]: fact for fact in answer["facts"]}
    for fact_id, number in numbers.items():
        lines.append(f"    [{number}] {_fact_line(facts[fact_id])}")
    if answer["recommendations"]:
        best = ", ".join(f"{r['title']} ({r['id']})" for r in answer["recommendations"][:5])
        lines.append(f"  recommended: {best}")
    if answer["degraded"]:
        lines.append(f"  degraded: {', '.join(answer['degraded'])}")
    return lines


def _fact_line(fact: Mapping[str, Any]) -> str:
    dates = " to ".join(str(day) for day in (fact["valid_from"], fact["valid_to"]) if day)
    held = f" ({dates})" if dates else ""
    return (
        f"{fact['subject_name'] or fact['subject']} · {fact['predicate']} · "
        f"{fact['object_name'] or fact['object']}{held} <{fact['source']}>"
    )
