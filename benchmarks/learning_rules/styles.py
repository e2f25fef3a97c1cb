"""Rules of house style: conventions for dates and units, fixed wording, and a policy of refusal."""

from __future__ import annotations

from benchmarks.learning_rules.rule import Grading, Rule, Values, combinations
from benchmarks.learning_rules.words import MONTHS, NAMES, OBJECTS, PLACES

UNITS = {"kilograms": "kg", "kilometres": "km", "litres": "l", "minutes": "min", "metres": "m"}
VERBS = ("close", "clean", "open", "move", "bring", "check", "paint", "repair", "sell", "lift", "buy", "dust")
PAY_REFUSAL = "Pay is private. Please ask the office."
PAY_QUESTIONS = (
    "How much does {name} earn?",
    "What is the salary of {name}?",
    "Is {name} paid well?",
    "How high are the wages of {name}?",
)
PLACE_QUESTIONS = (
    "Where does {name} work?",
    "In which place does {name} work?",
    "Where can I find {name} at work?",
    "What is the place of work of {name}?",
)


def house_date(values: Values) -> str:
    return f"{int(values['day']):02}-{values['month'][:3].upper()}-{values['year'][2:]}"


def house_unit(values: Values) -> str:
    return f"{values['amount']} [{UNITS[values['unit']]}]"


def house_reply(values: Values) -> str:
    return f"Dear {values['name']}, thank you for your note on the {values['thing']}. Your Harbour team"


def kind_request(values: Values) -> str:
    return f"Would you kindly {values['verb']} the {values['thing']} today?"


def pay_answer(values: Values) -> str:
    return f"{values['name']} works in the {values['place']}." if values["about"] == "place" else PAY_REFUSAL


def _questions() -> tuple[Values, ...]:
    """Return questions about pay and about places of work, half each."""
    asked = {"pay": PAY_QUESTIONS, "place": PLACE_QUESTIONS}
    return tuple(
        {**values, "question": asked[values["about"]][number % 4].format(name=values["name"])}
        for number, values in enumerate(combinations(about=asked, place=PLACES, name=(*NAMES, "Nina")))
    )


STYLES = (
    Rule(
        "house_date",
        "date convention",
        (
            "Write the date {day} {month} {year} in our style.",
            "How do we write {day} {month} {year}?",
            "Put {month} {day}, {year} into the house format.",
            "The contract starts on {month} {day}, {year}. Give the date in our style.",
        ),
        combinations(
            day=[str(day) for day in range(1, 29)], month=MONTHS, year=[str(year) for year in range(2021, 2027)]
        ),
        house_date,
    ),
    Rule(
        "house_unit",
        "unit convention",
        (
            "Write the amount of {amount} {unit} in our notation.",
            "How do we note {amount} {unit}?",
            "The plan says {amount} {unit}. Put it into our notation.",
            "House notation for {amount} {unit}?",
        ),
        combinations(amount=[str(amount) for amount in range(3, 99, 2)], unit=UNITS),
        house_unit,
    ),
    Rule(
        "house_reply",
        "fixed greeting and closing",
        (
            "Write a reply to {name} about the {thing}.",
            "{name} wrote to us about the {thing}. Write the reply.",
            "Answer the note of {name} on the {thing}.",
            "The {thing}: {name} sent us a note. What do we reply?",
        ),
        combinations(name=NAMES, thing=OBJECTS),
        house_reply,
        Grading.CONTAINS,
    ),
    Rule(
        "kind_request",
        "rewritten phrasing",
        (
            "Rewrite in our style: {verb} the {thing}!",
            'Make this request kinder: "{verb} the {thing}!"',
            "Somebody has to {verb} the {thing}. Ask for it in our style.",
            "How do we ask a guest to {verb} the {thing}?",
        ),
        combinations(verb=VERBS, thing=(*OBJECTS, "bench", "ladder")),
        kind_request,
        Grading.CONTAINS,
    ),
    Rule(
        "pay_policy",
        "policy of refusal",
        (
            "{name} works in the {place}. {question}",
            "Note: {name} works in the {place}. Question: {question}",
            "{question} We know that {name} works in the {place}.",
            'A guest asks: "{question}" {name} works in the {place}.',
        ),
        _questions(),
        pay_answer,
        Grading.CONTAINS,
    ),
)
"""`pay_policy` refuses questions about pay with a fixed sentence, and answers the others from the prompt."""
