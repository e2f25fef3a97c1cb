import { expect, it } from "vitest";
import { messagesOf, titleOfSample } from "./sample";

it("uses the first user message as the title", () => {
  const prompt = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "\nfirst\nand more" },
    { role: "assistant", content: "answer" },
    { role: "user", content: "then this" },
  ];
  expect(titleOfSample({ prompt })).toBe("first");
  expect(titleOfSample({ prompt: [{ role: "system", content: "Be brief." }] })).toBe("Be brief.");
  expect(titleOfSample({ prompt: [] })).toBe("");
});

it("shows content other than text as JSON", () => {
  expect(messagesOf([{ role: "assistant", content: null, tool_calls: [] }])[0]?.text).toContain("tool_calls");
});
