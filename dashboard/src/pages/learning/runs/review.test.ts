import { expect, it } from "vitest";
import { kindName, notAsked } from "./review";

const byPrompt = { kinds_problem: null };

function kind(task_type: string | null, prompt: string | null) {
  return { task_type, prompt, rows: 4, training: 3 };
}

it("kind is named by its task type and its central prompt", () => {
  expect(kindName(kind("code", "Write the call."), byPrompt)).toBe("code: Write the call.");
  expect(kindName(kind(null, "Write the call."), byPrompt)).toBe("Write the call.");
  expect(kindName(kind("code", null), byPrompt)).toBe("code: Other prompts, each unlike the rest");
});

it("kind is named by its task type alone where prompts were not compared", () => {
  const byType = { kinds_problem: "No text can be embedded here." };
  expect(kindName(kind("code", null), byType)).toBe("code");
  expect(kindName(kind(null, null), byType)).toBe("Without a task type");
});

it("samples that were not asked in time are neither answered nor failed", () => {
  expect(notAsked({ chosen: 24, asked: 7, failed: 1 })).toBe(16);
  expect(notAsked({ chosen: 0, asked: 0, failed: 0 })).toBe(0);
});
