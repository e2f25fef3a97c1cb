"""Schemathesis hooks that put a value that PostgreSQL, JSON or Python cannot store into half of the generated requests.

Loaded in the process of schemathesis, by its path in `SCHEMATHESIS_HOOKS`.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies as st

TEXTS = ["\x00", "a\x00b", "\ud800", "a\udfffb", "\ufeff", "\u202e"]
NUMBERS = [2**63, 2**64, -(2**63) - 1, 10**60]
TIMES = ["9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+12:00", "10000-01-01T00:00:00Z"]
NESTED = [{"a\x00": 1}, {"const": "\x00"}, [[{"maximum": 2**64}]], ["\udfff"]]

VALUES: st.SearchStrategy[Any] = st.sampled_from([*TEXTS, *NUMBERS, *TIMES, *NESTED])
SENT_AS_TEXT: st.SearchStrategy[Any] = st.sampled_from(["\x00", "a\x00b", str(2**63), str(2**64), "nan", *TIMES])


@schemathesis.hook
def flatmap_body(context: schemathesis.HookContext, body: Any) -> st.SearchStrategy[Any]:
    del context
    return st.just(body) | _with_one(body, VALUES)


@schemathesis.hook
def flatmap_query(context: schemathesis.HookContext, query: Any) -> st.SearchStrategy[Any]:
    del context
    odd = _with_one(query, SENT_AS_TEXT) if query else st.just(query)
    return st.just(query) | odd


@schemathesis.hook
def flatmap_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> st.SearchStrategy[Any]:
    del context
    odd = _with_one(path_parameters, SENT_AS_TEXT) if path_parameters else st.just(path_parameters)
    return st.just(path_parameters) | odd


def _with_one(value: Any, odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return the value with one odd value in it, at any depth, or in its place."""
    if isinstance(value, dict) and value:
        return st.sampled_from(sorted(value)).flatmap(
            lambda name: _with_one(value[name], odd).map(lambda changed: {**value, name: changed})
        )
    if isinstance(value, list) and value:
        return _with_one(value[0], odd).map(lambda changed: [changed, *value[1:]])
    return odd
