import { agents } from "./en/agents";
import { audit } from "./en/audit";
import { common } from "./en/common";
import { config } from "./en/config";
import { entry } from "./en/entry";
import { learning } from "./en/learning";
import { model } from "./en/model";
import { models } from "./en/models";
import { ollama } from "./en/ollama";
import { overview } from "./en/overview";
import { plugins } from "./en/plugins";
import { providers } from "./en/providers";
import { review } from "./en/review";
import { settings } from "./en/settings";
import { shell } from "./en/shell";
import { tasks } from "./en/tasks";
import { training } from "./en/training";
import { users } from "./en/users";

/** One file per area. */
export const en = {
  ...common,
  ...shell,
  ...entry,
  ...overview,
  ...tasks,
  ...agents,
  ...plugins,
  ...model,
  ...models,
  ...providers,
  ...ollama,
  ...learning,
  ...training,
  ...review,
  ...audit,
  ...settings,
  ...config,
  ...users,
} as const;

export type Messages = typeof en;
