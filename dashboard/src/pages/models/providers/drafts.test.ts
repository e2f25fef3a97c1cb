import { describe, expect, it } from "vitest";
import type { ProviderOut, StoredModelOut, UpstreamOut } from "../../../api/types";
import {
  chosen,
  editsOf,
  EMPTY,
  halfPriced,
  hasValidHeaders,
  headersOf,
  InvalidHeader,
  modelBody,
  modelPatch,
  numberOf,
  providerBody,
  providerPatch,
  wordsOf,
} from "./drafts";

const listed: UpstreamOut = {
  name: "large",
  local: false,
  context: 8192,
  capabilities: ["tools"],
  price: { input: 1, output: 2, at: "2026-11-01", source: "the provider's list of models" },
  added: [],
};

describe("headers", () => {
  it("reads one header in each line and keeps colons in values", () => {
    expect(headersOf("X-Org: a:b\r\n\n  X-Other :  c ")).toEqual({ "X-Org": "a:b", "X-Other": "c" });
    expect(headersOf("")).toEqual({});
  });

  it("refuses a line without a name and does not repeat it", () => {
    for (const text of ["secret", ": secret", "   :"]) {
      expect(() => headersOf(text)).toThrow(InvalidHeader);
      expect(hasValidHeaders(text)).toBe(false);
    }
    try {
      headersOf("secret");
    } catch (error) {
      expect(String(error)).not.toContain("secret");
    }
  });
});

describe("provider", () => {
  it("leaves out what was not entered", () => {
    expect(providerBody({ kind: "openai", ...EMPTY, name: " OpenAI " })).toEqual({ kind: "openai", name: "OpenAI", headers: {} });
  });

  it("contains what was entered", () => {
    const draft = { kind: "vllm", name: "GPU", address: " http://gpu:8000/v1 ", key: "k", headers: "X: 1", ca: "PEM", local: "no" } as const;
    expect(providerBody(draft)).toEqual({
      kind: "vllm",
      name: "GPU",
      address: "http://gpu:8000/v1",
      key: "k",
      headers: { X: "1" },
      ca: "PEM",
      local: false,
    });
  });
});

describe("model", () => {
  it("keeps the listed price with its day, and an entered one wins", () => {
    expect(modelBody(chosen("large", listed))).toEqual({
      upstream: "large",
      context: 8192,
      capabilities: ["tools"],
      price: listed.price,
    });
    expect(modelBody({ ...chosen("large", listed), input: "0", output: "0.5" }).price).toEqual({ input: 0, output: 0.5 });
  });

  it("sends no price if none is known, so that it is unknown and not free", () => {
    const body = modelBody({ ...chosen("x", null), name: " mine ", perHour: "2.5" });
    expect(body).toEqual({ upstream: "x", name: "mine", price_per_hour: 2.5 });
  });

  it("notices half a price", () => {
    expect(halfPriced({ input: "1", output: "" })).toBe(true);
    expect(halfPriced({ input: "", output: "" })).toBe(false);
    expect(halfPriced({ input: "0", output: "0" })).toBe(false);
  });

  it("reads words and numbers", () => {
    expect(wordsOf("code, text,, code\nsummary")).toEqual(["code", "text", "summary"]);
    expect([numberOf(" "), numberOf("0")]).toEqual([null, 0]);
  });
});

const model: StoredModelOut = {
  id: "m",
  name: "large",
  upstream: "large",
  local: false,
  context: 8192,
  capabilities: ["tools"],
  price: { input: 1, output: 2, at: "2026-11-01", source: "list" },
  price_per_hour: null,
  specialties: ["code"],
  tier: null,
  enabled: true,
};
const provider: ProviderOut = {
  id: "p",
  name: "Cloud",
  kind: "openai",
  address: "https://a/v1",
  local: false,
  has_key: true,
  key_set_at: "2026-11-01T00:00:00Z",
  header_names: ["X"],
  ca: null,
  version: 3,
  changed_at: "2026-11-01T00:00:00Z",
  problem: null,
  models: [model],
};

describe("changes of a provider", () => {
  it("sends changed fields only, with the version that they are based on", () => {
    expect(providerPatch(provider, {})).toBeNull();
    expect(providerPatch(provider, { name: " Cloud ", address: "https://a/v1", ca: " ", key: "", headers: " ", local: false })).toBeNull();
    expect(providerPatch(provider, { name: "Other", key: "new", headers: "Y: 1", local: true })).toEqual({
      version: 3,
      name: "Other",
      key: "new",
      headers: { Y: "1" },
      local: true,
    });
  });

  it("removes with null", () => {
    const stored = { ...provider, ca: "PEM" };
    const edits = { removeKey: true, key: "ignored", removeHeaders: true, ca: "" };
    expect(providerPatch(stored, edits)).toEqual({ version: 3, key: null, headers: null, ca: null });
  });
});

describe("changes of a model", () => {
  it("leaves an untouched price alone, so that its day and source stay", () => {
    expect(modelPatch(model, editsOf(model))).toEqual({});
    expect(modelPatch(model, { ...editsOf(model), context: "", enabled: false })).toEqual({ context: null, enabled: false });
  });

  it("makes an emptied price unknown", () => {
    expect(modelPatch(model, { ...editsOf(model), input: "", output: "" })).toEqual({ price: null });
    expect(modelPatch(model, { ...editsOf(model), output: "4" })).toEqual({ price: { input: 1, output: 4 } });
  });
});
