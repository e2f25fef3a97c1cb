"""Measure how plainly the project is written: `python -m scripts.language [PATH…]`.

Two figures per 1,000 lines, of which each must stay below 2: forms of say, tell, word and speak, and the phrases "what
is", "what was" and "what it". Identifiers count by their parts. Generated files, the text of the changelog's releases
and data of tests do not count.
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
VERBS = re.compile(
    r"(?<![a-z])(?:say|says|said|saying|tell|tells|told|telling|words?|worded|wording|speaks?|spoke|spoken|speaking)(?![a-z])",
    re.IGNORECASE,
)
PHRASES = re.compile(r"\bwhat (?:is|was|it)\b", re.IGNORECASE)
LIMIT = 2.0


def files(paths: list[str]) -> list[Path]:
    """The tracked files that people write, below these paths."""
    listed = subprocess.run(["git", "ls-files", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    names = (name for name in listed.stdout.splitlines() if name.endswith(SUFFIXES) and name not in GENERATED)
    return [ROOT / name for name in names if "/data/" not in name and (ROOT / name).is_file()]


def figures(paths: list[str]) -> tuple[float, float, Counter[str]]:
    """Both figures, and how often each file has either."""
    lines, verbs, phrases, by_file = 0, 0, 0, Counter[str]()
    for file in files(paths):
        text = file.read_text()
        found, asked = len(VERBS.findall(text)), len(PHRASES.findall(text))
        lines, verbs, phrases = lines + text.count("\n"), verbs + found, phrases + asked
        by_file[str(file.relative_to(ROOT))] = found + asked
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
