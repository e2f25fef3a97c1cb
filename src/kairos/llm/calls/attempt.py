"""The request body of a model call, adapted after each refusal that names a parameter."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from kairos.http import HttpStatus
from kairos.llm.answers.answer import ReportedError
from kairos.llm.calls.adjustments import FORMS, Adjustments, SchemaForm, adjusted
from kairos.llm.calls.model_traits import ModelTraits, Traits
from kairos.llm.calls.refused_parameters import ParameterRefusal, next_adjustment
from kairos.llm.catalog.catalog import Model

log = logging.getLogger(__name__)

MAX_STEPS = 6
"""Maximum number of refusals in one call. A server that refuses more is not supported."""
SCHEMAS_KEPT = 256


class SchemaForms:
    """The accepted form of individual schemas, where it is less than the model's usual form."""

    def __init__(self) -> None:
        self._forms: OrderedDict[tuple[str, bytes], SchemaForm] = OrderedDict()

    def of(self, model: Model, body: Mapping[str, Any]) -> SchemaForm:
        return self._forms.get(self._key(model, body), SchemaForm.STRICT) if "response_format" in body else FORMS[0]

    def save(self, model: Model, body: Mapping[str, Any], form: SchemaForm) -> None:
        key = self._key(model, body)
        self._forms[key] = form
        self._forms.move_to_end(key)
        if len(self._forms) > SCHEMAS_KEPT:
            self._forms.popitem(last=False)

    def _key(self, model: Model, body: Mapping[str, Any]) -> tuple[str, bytes]:
        text = orjson.dumps(body["response_format"], default=dict, option=orjson.OPT_SORT_KEYS)
        return model.name, hashlib.sha256(text).digest()


class AdaptiveRequest:
    """The successive requests of one call."""

    def __init__(
        self,
        model: Model,
        body: Mapping[str, Any],
        traits: ModelTraits,
        forms: SchemaForms,
        *,
        own_limit: bool = False,
        parameter_names: Mapping[str, str] = {},
    ) -> None:
        """`own_limit`: the answer limit in the body is Kairos' default, not the caller's. `parameter_names`: the
        server's names of parameters, with those in the body."""
        self.model = model
        self._names = parameter_names
        self._own_limit = own_limit
        self._body = body
        self._traits = traits
        self._forms = forms
        self.changes = traits.of(model).adjustments.merged(self._of_schema())
        self._found = Adjustments()
        """The adjustments learned from the refusals of this call."""
        self._for_schema: SchemaForm | None = None
        self._steps = 0

    def body(self) -> dict[str, Any]:
        """Return the body of the next request."""
        return adjusted(self._body, self.changes)

    def adapt(self, error: Exception) -> bool:
        """Adapt the request to an error. Returns whether to send another one."""
        refusal = _refusal(error)
        if refusal is not None and self._names:
            refusal = refusal.renamed(self._names)
        if refusal is None or self._steps >= MAX_STEPS:
            return False
        step = next_adjustment(self._changeable(), self.changes, refusal, own_limit=self._own_limit)
        if step is None:
            return False
        self._steps += 1
        if step.permanent:
            self._found = self._found.merged(_difference(self.changes, step.changes))
        elif step.changes.schema_form is not self.changes.schema_form:
            self._for_schema = step.changes.schema_form
        self.changes = step.changes
        return True

    def accepted(self) -> None:
        """Save the adjustments learned from refusals, after the last request was answered."""
        if self._found != Adjustments():
            log.info("model %s: %s from now on", self.model.name, ", ".join(self._found.described()))
            self._traits.learn(self.model, Traits(self._found))
        if self._for_schema is not None:
            self._forms.save(self.model, self._body, self._for_schema)

    def _changeable(self) -> Mapping[str, Any]:
        """Return the body without the fields that the model's configuration adds, because they select an adapter."""
        return {key: value for key, value in self._body.items() if key not in self.model.body}

    def _of_schema(self) -> Adjustments:
        try:
            return Adjustments(schema_form=self._forms.of(self.model, self._body))
        except orjson.JSONEncodeError:  # sending the request reports the error
            return Adjustments()


def _refusal(error: Exception) -> ParameterRefusal | None:
    if isinstance(error, HttpStatus):
        return ParameterRefusal.of(error.http_status, error.body, error.reason)
    if isinstance(error, ReportedError):
        return ParameterRefusal.of(error.http_status, b"", str(error))
    return None


def _difference(before: Adjustments, after: Adjustments) -> Adjustments:
    """Return the changes of one step."""
    return replace(
        after,
        dropped=after.dropped - before.dropped,
        renamed=after.renamed - before.renamed,
        schema_form=SchemaForm.STRICT if after.schema_form is before.schema_form else after.schema_form,
        folds_system=after.folds_system and not before.folds_system,
        whole=after.whole and not before.whole,
        answer_tokens=None if after.answer_tokens == before.answer_tokens else after.answer_tokens,
    )
