"""A provider for Cohere's chat API (https://docs.cohere.com/reference/chat-stream), as an example of a protocol that a
plugin adds. A model uses it with:

    [[models]]
    name = "command-a"
    upstream = "command-a-03-2025"
    base_url = "https://api.cohere.com"
    protocol = "plugin:cohere"
    api_key_env = "COHERE_API_KEY"
"""

from kairos.http import joined
from kairos.llm.answers.answer_part import AnswerPart
from kairos.llm.answers.usage import Usage
from kairos.llm.calls.provider import ListedModel, ServerRequest
from kairos.llm.calls.request_form import answer_limit, functions_of, others, parts_of, schema_of, stops
from kairos.plugins.provider_plugin import ProviderPlugin

NAMES = {"top_p": "p", "top_k": "k"}


class CohereProvider(ProviderPlugin):
    """Cohere's chat API."""

    features = ("streams", "tools", "JSON schema", "images", "reasoning", "usage", "listed context")
    parameter_names = {"p": "top_p", "k": "top_k", "stop_sequences": "stop", "thinking": "reasoning_effort"}

    def get_name(self):
        return "cohere"

    def chat_request(self, model, body):
        sent = {
            "model": body["model"],
            "messages": [_message(message) for message in body["messages"]],
            "stream": body.get("stream", True),
        }
        sent |= {NAMES.get(name, name): value for name, value in others(body).items()}
        if (limit := answer_limit(body)) is not None:
            sent["max_tokens"] = limit
        if stop := stops(body):
            sent["stop_sequences"] = stop
        if tools := [{"type": "function", "function": dict(function)} for _, function in functions_of(body)]:
            sent["tools"] = tools
        if (schema := schema_of(body)) is not None:
            sent["response_format"] = {"type": "json_object", "json_schema": schema}
        if effort := body.get("reasoning_effort"):
            sent["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
        return ServerRequest(joined(model.base_url, "v2/chat"), sent, token=model.api_key)

    def answer_parser(self):
        return CohereAnswer()

    async def list_models(self, server):
        value = await server.get_json(joined(server.base_url, "v1/models?page_size=1000"), token=server.api_key)
        return [ListedModel(row["name"], context=row.get("context_length")) for row in value["models"]]


class CohereAnswer:
    """The parser of one answer."""

    def parts(self, value):
        message = (value.get("delta") or {}).get("message") or value.get("message") or {}
        match value.get("type"):
            case "content-start" | "content-delta":
                content = message.get("content") or {}
                yield AnswerPart(text=content.get("text") or "", reasoning=content.get("thinking") or "")
            case "tool-call-start" | "tool-call-delta":
                yield AnswerPart(tool_calls=[{**message["tool_calls"], "index": value["index"]}])
            case "message-end":
                yield _end(value["delta"], done=True)
            case None if "finish_reason" in value:  # an answer that was not streamed
                for block in message.get("content") or ():
                    yield AnswerPart(text=block.get("text") or "", reasoning=block.get("thinking") or "")
                yield AnswerPart(tool_calls=message.get("tool_calls") or ())
                yield _end(value)


def _message(message):
    kept = {name: message[name] for name in ("role", "tool_calls", "tool_call_id") if message.get(name)}
    parts = [{name: part[name] for name in part if name != "cache_control"} for part in parts_of(message)]
    return {**kept, "content": parts[0]["text"] if [part["type"] for part in parts] == ["text"] else parts}


def _end(value, done=False):
    tokens = (value.get("usage") or {}).get("tokens") or {}
    counted = "input_tokens" in tokens and "output_tokens" in tokens
    usage = Usage(int(tokens["input_tokens"]), int(tokens["output_tokens"])) if counted else None
    return AnswerPart(finish_reason=value.get("finish_reason"), usage=usage, done=done)
