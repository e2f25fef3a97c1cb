"""All rules of the suite, by name."""

from __future__ import annotations

from benchmarks.learning_rules.calls import CALLS
from benchmarks.learning_rules.codes import CODES
from benchmarks.learning_rules.formats import FORMATS
from benchmarks.learning_rules.rule import Rule
from benchmarks.learning_rules.styles import STYLES

RULES: dict[str, Rule] = {rule.name: rule for rule in (*CALLS, *CODES, *FORMATS, *STYLES)}
