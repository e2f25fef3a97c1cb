"""Rules of a fixed output format: lines, table rows, and fields extracted from a sentence."""

from __future__ import annotations

import json

from benchmarks.learning_rules.rule import Rule, Values, combinations
from benchmarks.learning_rules.words import CITIES, DAYS, HOURS, NAMES, NUMBERS, PLACES

COMMIT_TYPES = {"fixed": "fix", "added": "feat", "removed": "drop", "described": "docs"}
PARTS = ("login", "search", "upload", "menu", "printer", "calendar", "basket", "profile")
CHANGED = ("button", "crash", "icon", "warning", "timeout", "label", "filter", "test")
GOODS = ("lamps", "chairs", "books", "shirts", "pencils", "bottles", "candles", "clocks")
ORDERS = tuple(str(number) for number in range(104, 990, 37))


def commit_line(values: Values) -> str:
    return f"{COMMIT_TYPES[values['done']]}({values['part']}): {values['what']}"


def log_entry(values: Values) -> str:
    return f"{values['hour']}h | {values['name']} | {values['did']} | {values['place']}"


def table_row(values: Values) -> str:
    return f"{values['name']};{NUMBERS.index(values['number']) + 2};{values['goods']};{values['day']}"


def order_fields(values: Values) -> str:
    return json.dumps({"order": int(values["order"]), "city": values["city"]})


FORMATS = (
    Rule(
        "commit_line",
        "fixed output format",
        (
            "Write the commit line: we {done} the {what} in the {part}.",
            "We {done} the {what} in the {part}. What is the commit line?",
            "Commit line for this change: {done} the {what} of the {part}.",
            "Today I {done} the {what} in the {part}. Give me the commit line.",
        ),
        combinations(done=COMMIT_TYPES, what=CHANGED, part=PARTS),
        commit_line,
    ),
    Rule(
        "log_entry",
        "one line made from a sentence",
        (
            "Write the log entry: {name} {did} the {place} at {hour}.",
            "At {hour}, {name} {did} the {place}. Make a log entry of it.",
            "{name} {did} the {place} at {hour}. How does it stand in our log?",
            "Log this: at {hour} the {place} was {did} by {name}.",
        ),
        combinations(name=NAMES, did=("entered", "cleaned", "locked", "opened"), place=PLACES, hour=HOURS),
        log_entry,
    ),
    Rule(
        "table_row",
        "table row",
        (
            "Make a table row: {name} bought {number} {goods} on {day}.",
            "On {day} {name} bought {number} {goods}. Write it as a table row.",
            "Table row for this sale: {number} {goods} to {name} on {day}.",
            "{name} took {number} {goods} on {day}. What is the row in our table?",
        ),
        combinations(name=NAMES, number=NUMBERS, goods=GOODS, day=DAYS),
        table_row,
    ),
    Rule(
        "order_fields",
        "extraction from a sentence",
        (
            'Extract order number and city: "Please send order {order} to {city}."',
            'Which order and city? "We moved to {city}, so send order {order} there."',
            'Read the fields of this mail: "Order {order} is still not in {city}."',
            "A customer in {city} writes about order {order}. Extract order number and city.",
        ),
        combinations(order=ORDERS, city=CITIES),
        order_fields,
    ),
)
