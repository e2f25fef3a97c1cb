"""Rules that turn a wish into a call: a made-up API, a JSON tool call, a made-up query language."""

from __future__ import annotations

import json

from benchmarks.learning_rules.rule import Grading, Rule, Values, combinations
from benchmarks.learning_rules.words import COLOURS, HOURS
from scripts.demo_learning import KNOWN, NEW, VERBS, DemoTask

VEX_THINGS = (*KNOWN, *NEW, "towel", "camera", "violin", "fence", "statue", "wagon")
CHORES = (
    "water the plants",
    "call the dentist",
    "feed the cat",
    "buy some milk",
    "wash the car",
    "lock the door",
    "pay the rent",
    "clean the kitchen",
    "post the letter",
    "walk the dog",
    "bake the bread",
    "open the shop",
    "check the oven",
    "pack the bag",
    "read the report",
    "charge the phone",
)
CLOTHES = ("shirts", "shoes", "hats", "coats", "socks", "gloves", "jackets", "skirts")
PRICES = ("10", "20", "30", "40", "50", "60")


def vex_call(values: Values) -> str:
    return DemoTask(values["verb"], values["thing"]).right


def reminder(values: Values) -> str:
    return json.dumps({"tool": "remind", "text": values["chore"], "hour": int(values["hour"])})


def shop_query(values: Values) -> str:
    return f"GET {values['clothes']} IF {values['colour']} MAX {values['price']}"


CALLS = (
    Rule(
        "vex_call",
        "made-up API call",
        (
            "Write the Vex call to {verb} the {thing}.",
            "Which Vex call do I need to {verb} the {thing}?",
            "I want to {verb} the {thing} with Vex. Write the call.",
            "Please {verb} the {thing}: give me the Vex call.",
        ),
        combinations(verb=VERBS, thing=VEX_THINGS),
        vex_call,
        Grading.CONTAINS,
    ),
    Rule(
        "reminder",
        "JSON tool call",
        (
            "Remind me to {chore} at {hour} o'clock.",
            "At {hour} o'clock I have to {chore}. Remind me.",
            "Set a reminder for {hour} o'clock: {chore}.",
            "Do not let me forget to {chore} at {hour} o'clock.",
        ),
        combinations(chore=CHORES, hour=HOURS),
        reminder,
    ),
    Rule(
        "shop_query",
        "made-up query language",
        (
            "Show all {colour} {clothes} up to {price} dollars.",
            "Write the shop query for {colour} {clothes} that cost at most {price} dollars.",
            "I look for {clothes} in {colour}, {price} dollars at most.",
            "Which {colour} {clothes} do we have for no more than {price} dollars?",
        ),
        combinations(colour=COLOURS, clothes=CLOTHES, price=PRICES),
        shop_query,
    ),
)
