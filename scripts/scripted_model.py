"""A model server for scripts/check_image.sh that answers every prompt with the same Python function.

    python scripted_model.py PORT

Implements OpenAI's protocol, streamed and not, with the standard library only.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "```python\ndef add(a, b):\n    return a + b\n```"


class Handler(BaseHTTPRequestHandler):
    """GET /v1/models and POST /v1/chat/completions."""

    def do_GET(self) -> None:
        self._send("application/json", json.dumps({"data": [{"id": "scripted"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        usage = _usage(body["messages"])
        if body.get("stream"):
            self._send("text/event-stream", _stream(usage))
        else:
            message = {"role": "assistant", "content": ANSWER}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send("application/json", json.dumps({"model": "scripted", "choices": [choice], "usage": usage}))

    def _send(self, media_type: str, text: str) -> None:
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _usage(messages: list[dict[str, str]]) -> dict[str, int]:
    """Return the usage, at four letters per token. A lower count would look like a truncated prompt."""
    prompt, completion = sum(len(message["content"]) for message in messages) // 4, len(ANSWER) // 4
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _stream(usage: dict[str, int]) -> str:
    deltas = [({"role": "assistant", "content": ANSWER}, None), ({}, "stop")]
    chunks: list[object] = [
        {"model": "scripted", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    chunks.append({"model": "scripted", "choices": [], "usage": usage})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
