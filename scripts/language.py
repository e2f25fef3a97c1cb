"""Measure the language of the project: `python -m scripts.language [PATH…]`.

Prints two figures per 1,000 lines, which must stay below 2: forms of four informal verbs (`VERBS`) and a clumsy phrase
(`PHRASES`). Parts of identifiers count. Generated files, test data and this script are excluded.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = (".py", ".ts", ".tsx", ".md", ".sh", ".toml", ".yml", ".yaml", ".lua", ".sql")
GENERATED = ("dashboard/src/api/schema.d.ts", "dashboard/package-lock.json", "docs/cli.md", "docs/configuration.md")
EXCLUDED = (*GENERATED, "scripts/language.py")
VERBS = re.compile(
    r"(?<![a-z])(?:say|says|said|saying|tell|tells|told|telling|words?|worded|wording|speaks?|spoke|spoken|speaking)(?![a-z])",
    re.IGNORECASE,
)
PHRASES = re.compile(r"\bwhat (?:is|was|it)\b", re.IGNORECASE)
LIMIT = 2.0


def files(paths: list[str]) -> list[Path]:
    """Return the tracked, hand-written files below these paths."""
    listed = subprocess.run(["git", "ls-files", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    names = (name for name in listed.stdout.splitlines() if name.endswith(SUFFIXES) and name not in EXCLUDED)
    return [ROOT / name for name in names if "/data/" not in name and (ROOT / name).is_file()]


def figures(paths: list[str]) -> tuple[float, float, Counter[str]]:
    """Return both figures per 1,000 lines, and the number of matches in each file."""
    lines, verbs, phrases, by_file = 0, 0, 0, Counter[str]()
    for file in files(paths):
        text = file.read_text()
        verb_count, phrase_count = len(VERBS.findall(text)), len(PHRASES.findall(text))
        lines, verbs, phrases = lines + text.count("\n"), verbs + verb_count, phrases + phrase_count
        by_file[str(file.relative_to(ROOT))] = verb_count + phrase_count
    per_line = 1000 / max(lines, 1)
    return verbs * per_line, phrases * per_line, by_file


def main() -> int:
    verbs, phrases, by_file = figures(sys.argv[1:])
    print(f"say, tell, word, speak: {verbs:.1f} per 1,000 lines; what is, what was, what it: {phrases:.1f}")
    for name, count in by_file.most_common(15):
        if count:
            print(f"{count:5} {name}")
    return 0 if max(verbs, phrases) < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
