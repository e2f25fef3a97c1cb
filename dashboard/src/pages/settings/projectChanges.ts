import type { ProjectDetail, ProjectSettings } from "../../api/types";

/** The form's inputs. An empty limit means no limit. */
export interface Draft {
  name: string;
  hold_answers: boolean;
  local_only: boolean;
  run_tests: boolean;
  interactive_cap: string;
  batch_cap: string;
  weight: string;
  labelling_guideline: string;
}

export interface ProjectChanges {
  name?: string;
  settings?: ProjectSettings;
}

/**
 * Returns only the changed fields, so that concurrent changes to different fields do not overwrite each other. Null:
 * no change.
 */
export function changesOf(project: ProjectDetail, draft: Draft): ProjectChanges | null {
  const before = project.settings;
  const settings: ProjectSettings = {};
  const limit = (text: string) => (text.trim() === "" ? null : Number(text));
  const flags = ["hold_answers", "local_only", "run_tests"] as const;
  for (const name of flags) if (name in before && draft[name] !== before[name]) settings[name] = draft[name];
  for (const name of ["interactive_cap", "batch_cap"] as const) {
    if (limit(draft[name]) !== (before[name] ?? null)) settings[name] = limit(draft[name]);
  }
  const guideline = draft.labelling_guideline.trim();
  if ("labelling_guideline" in before && guideline !== before.labelling_guideline) settings.labelling_guideline = guideline;
  if (Number(draft.weight) !== (before.weight ?? 1)) settings.weight = Number(draft.weight);
  const name = draft.name.trim();
  const changes: ProjectChanges = {};
  if (name !== project.name) changes.name = name;
  if (Object.keys(settings).length > 0) changes.settings = settings;
  return Object.keys(changes).length > 0 ? changes : null;
}
