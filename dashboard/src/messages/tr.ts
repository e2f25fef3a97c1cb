import type { Translation } from "../i18n/types";
import type { Messages } from "./en";
import { agents } from "./tr/agents";
import { audit } from "./tr/audit";
import { common } from "./tr/common";
import { config } from "./tr/config";
import { entry } from "./tr/entry";
import { learning } from "./tr/learning";
import { model } from "./tr/model";
import { models } from "./tr/models";
import { ollama } from "./tr/ollama";
import { overview } from "./tr/overview";
import { plugins } from "./tr/plugins";
import { providers } from "./tr/providers";
import { review } from "./tr/review";
import { settings } from "./tr/settings";
import { shell } from "./tr/shell";
import { tasks } from "./tr/tasks";
import { training } from "./tr/training";
import { users } from "./tr/users";

export const tr: Translation<Messages> = {
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
};
