import { describe, expect, it } from "vitest";
import type { ProjectDetail } from "../../api/types";
import { changesOf, type Draft } from "./projectChanges";

const project = {
  name: "Search",
  settings: { hold_answers: false, interactive_cap: 4, batch_cap: null, weight: 1 },
} as ProjectDetail;

const draft: Draft = {
  name: "Search",
  hold_answers: false,
  local_only: false,
  run_tests: true,
  interactive_cap: "4",
  batch_cap: "",
  weight: "1",
  labelling_guideline: "",
};

describe("changes of a project", () => {
  it("are null when nothing differs or the daemon does not know a setting", () => {
    expect(changesOf(project, draft)).toBeNull();
    expect(changesOf(project, { ...draft, name: " Search ", local_only: true })).toBeNull();
  });

  it("contain only differences; an emptied limit is null", () => {
    expect(changesOf(project, { ...draft, interactive_cap: "" })).toEqual({ settings: { interactive_cap: null } });
    const guided = { ...project, settings: { ...project.settings, labelling_guideline: "Be brief." } };
    expect(changesOf(guided, { ...draft, labelling_guideline: " Be brief.\n" })).toBeNull();
    expect(changesOf(guided, draft)).toEqual({ settings: { labelling_guideline: "" } });
    expect(changesOf(project, { ...draft, name: "Find", weight: "2.5", batch_cap: "0" })).toEqual({
      name: "Find",
      settings: { weight: 2.5, batch_cap: 0 },
    });
  });
});
