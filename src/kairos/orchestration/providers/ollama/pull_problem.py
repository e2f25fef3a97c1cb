"""Explains why a pull failed: a cause and a remedy from the text of Ollama's error."""

from __future__ import annotations

import re
from dataclasses import dataclass

RESUMES = "Pull it again: it continues where it stopped"


@dataclass(frozen=True, slots=True)
class PullProblem:
    """The cause of a failed pull, and what to do."""

    cause: str
    remedy: str


_KNOWN = (
    (
        r"no space left|disk quota exceeded|not enough space|disk is full",
        "the disk of the Ollama server is full",
        f"Delete models that nobody needs, or enlarge the disk. {RESUMES}",
    ),
    (
        r"file does not exist|manifest unknown|name unknown|repository name not known",
        "the registry has no model {name}",
        "Check the name and its tag; ollama.com/library lists the models of Ollama's registry",
    ),
    (
        r"requires a newer version|newer version of Ollama",
        "{name} needs a newer version of Ollama",
        "Update Ollama on the server",
    ),
    (
        r"invalid model name|invalid model path",
        "Ollama does not accept the name {name}",
        "Give it as in `ollama pull`: llama3.2:3b, or registry.example.com/team/model:tag",
    ),
    (
        r"insecure protocol|server gave HTTP response to HTTPS|certificate|tls:|x509:",
        "the registry has no TLS, or a certificate that the Ollama server does not trust ({text})",
        "Add the certificate there, or pull with `insecure` if you trust the network",
    ),
    (
        r"unauthorized|authentication required|access denied|denied:|\b401\b|\b403\b",
        "the registry does not permit it ({text})",
        "Check the name. For a private model, sign in on the server: `ollama signin`",
    ),
    (r"digest mismatch", "the download was damaged", "Pull it again"),
    (
        r"no such host|connection refused|network is unreachable|i/o timeout|no route to host|dial tcp|"
        r"deadline exceeded",
        "the Ollama server cannot reach the registry ({text})",
        "Check its network and proxy (HTTPS_PROXY), or copy the model there by hand",
    ),
    (
        r"max retries exceeded|connection reset|unexpected EOF|stalled|\bEOF\b",
        "the connection of the Ollama server to the registry broke ({text})",
        RESUMES,
    ),
    (
        r"permission denied|read-only file system",
        "the Ollama server cannot write its models ({text})",
        "Correct the permissions of its models folder (OLLAMA_MODELS)",
    ),
    (r"too many requests|\b429\b", "the registry limits the number of downloads ({text})", "Wait, then pull it again"),
)


def pull_problem(text: str, name: str) -> PullProblem:
    """The cause and the remedy of an error's text, which must not contain secrets."""
    text = text.strip().rstrip(".")
    for pattern, cause, remedy in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return PullProblem(cause.replace("{name}", name).replace("{text}", text), remedy)
    return PullProblem(f"Ollama reports: {text}", "See the log of the Ollama server")


def stopped_early(name: str) -> PullProblem:
    """The problem of a stream that ended without an error and without success."""
    return PullProblem(f"Ollama closed the connection before {name} was complete", RESUMES)


def interrupted() -> PullProblem:
    """The problem of a pull whose daemon has ended."""
    return PullProblem("the daemon that watched the pull has stopped", RESUMES)
