"""Rules with invented codes: tickets are classified into queues, goods are mapped to bays."""

from __future__ import annotations

from benchmarks.learning_rules.rule import Rule, Values, combinations
from benchmarks.learning_rules.words import DEVICES

QUEUES = {
    "FIN-2": (
        "I was charged twice for the {device}.",
        "The invoice for the {device} is wrong.",
        "I want my money back for the {device}.",
        "The price of the {device} on my bill is too high.",
        "My card was charged for a {device} that I cancelled.",
    ),
    "ACC-5": (
        "I cannot log in to order the {device}.",
        "I forgot my password and cannot buy the {device}.",
        "My account is locked since I ordered the {device}.",
        "How do I reset my password to see the {device}?",
        "Your site does not let me sign in to rate the {device}.",
    ),
    "LOG-7": (
        "My {device} has not arrived yet.",
        "Where is the parcel with my {device}?",
        "The courier took the {device} to the wrong house.",
        "The delivery of the {device} is a week late.",
        "When will you ship my {device}?",
    ),
    "REP-4": (
        "The {device} stopped working.",
        "The {device} is broken.",
        "My {device} makes a strange noise.",
        "The {device} does not turn on.",
        "The {device} has a crack and needs a repair.",
    ),
}
"""Queue -> messages of customers that belong there."""
BAYS = {
    "apples": "Bay K2",
    "nails": "Bay R7",
    "paper": "Bay T4",
    "bottles": "Bay M9",
    "candles": "Bay B3",
    "ropes": "Bay H6",
    "shoes": "Bay W1",
    "towels": "Bay D8",
}


def ticket_queue(values: Values) -> str:
    return values["queue"]


def goods_bay(values: Values) -> str:
    return BAYS[values["goods"]]


CODES = (
    Rule(
        "ticket_queue",
        "classification into invented codes",
        (
            'Which queue? "{message}"',
            "{message} Which queue is this for?",
            "Sort this ticket into a queue: {message}",
            'Ticket: "{message}" Queue:',
        ),
        tuple(
            {"queue": queue, "message": message.format(device=device)}
            for queue, written in QUEUES.items()
            for message in written
            for device in DEVICES
        ),
        ticket_queue,
    ),
    Rule(
        "goods_bay",
        "invented mapping from words to codes",
        (
            "Where does the {look} {container} of {goods} go?",
            "I have a {look} {container} of {goods}. Which bay?",
            "Which bay is for this {look} {container} of {goods}?",
            "A {look} {container} of {goods} has arrived. Name its bay.",
        ),
        combinations(
            look=("big", "small", "heavy", "new", "wet"),
            container=("crate", "box", "bag", "basket", "barrel", "sack"),
            goods=BAYS,
        ),
        goods_bay,
    ),
)
