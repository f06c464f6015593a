"""The deterministic generator of the samples: the same bytes every time, on every machine.

`world` holds the graph while it is built; `catalogue`, `faults`, `policies`, `promotions`,
`articles` and `customers` fill it; `tickets` and `dialogues` write what customers asked;
`gold` writes the questions with known facts and answers, from frames of its own.
"""
