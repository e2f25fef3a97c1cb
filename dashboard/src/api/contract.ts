/** Types of endpoints that openapi.json does not describe. Remove each one when `npm run generate` provides it. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Role = Schemas["Role"];
export type TaskState = Schemas["TaskState"];
export type TaskOut = Schemas["TaskOut"];
export type TaskBody = Schemas["TaskBody"];
export type VerdictOut = Schemas["VerdictOut"];
export type FindingOut = Schemas["FindingOut"];
export type DecisionOut = Schemas["DecisionOut"];
export type EventOut = Schemas["EventOut"];
export type ModelOut = Schemas["ModelOut"];
export type ModelList = Schemas["ModelList"];
export type Leaderboard = Schemas["Leaderboard"];
export type Ready = Schemas["Ready"];
export type Project = Schemas["ProjectOut"];
export type SampleState = Schemas["SampleState"];
export type SampleOut = Schemas["SampleOut"];
export type SampleDetail = Schemas["SampleDetail"];
export type PluginOut = Schemas["PluginOut"];
export type ConfigScope = Schemas["ConfigScope"];
export type Configuration = Schemas["ConfigOut"];
export type ConfigValue = Schemas["ValueOut"];
export type ConfigChanged = Schemas["ConfigChanged"];
export type ConfigVersion = Schemas["VersionOut"];
export type ConfigVersions = Schemas["VersionList"];
export type Replica = Schemas["ReplicaOut"];
export type Imported = Schemas["ImportedOut"];
export type Overview = Schemas["Overview"];

export type Permission =
  | "tasks:read"
  | "tasks:write"
  | "tasks:label"
  | "dataset:read"
  | "dataset:write"
  | "training:read"
  | "training:write"
  | "models:read"
  | "cache:manage"
  | "agents:read"
  | "config:read"
  | "events:read"
  | "members:read"
  | "members:manage"
  | "keys:manage"
  | "audit:read"
  | "project:manage"
  | "project:export"
  | "project:delete";

export interface Items<T> {
  items: T[];
}

export interface Page<T> extends Items<T> {
  next: string | null;
}

export interface Tokens {
  access_token: string;
  refresh_token: string | null;
  token_type: string;
  expires_in: number;
  project_id: string | null;
}

export interface Me {
  user_id: string;
  email: string;
  name: string;
  operator: boolean;
  project_id: string | null;
  project_name: string | null;
  role: Role | null;
  permissions: Permission[];
}

export interface InvitationPreview {
  project_name: string;
  role: Role;
  email: string | null;
  invited_by: string;
  expires_at: string;
}

/** The response to an accepted invitation. */
export interface Joined {
  project_id: string;
  project_name: string;
  role: Role;
}

export interface Switched {
  access_token: string;
  project_id: string;
  expires_in: number;
}

export interface SessionOut {
  id: string;
  client: string;
  created_at: string;
  last_used_at: string;
  expires_at: string;
  current: boolean;
}

export interface ProjectSettings {
  hold_answers?: boolean;
  interactive_cap?: number | null;
  batch_cap?: number | null;
  weight?: number;
  local_only?: boolean;
  run_tests?: boolean;
  labelling_guideline?: string;
}

/** How the daemon's host isolates supplied tests. */
export interface IsolationOut {
  way: "namespaces" | "landlock" | "none";
  full: boolean;
  tests_run: boolean;
  detail: string;
}

export interface ProjectDetail extends Project {
  settings: ProjectSettings;
  isolation?: IsolationOut;
}

export interface MemberOut {
  user_id: string;
  email: string;
  name: string;
  role: Role;
  since: string;
  you: boolean;
}

export interface InvitationOut {
  id: string;
  email: string | null;
  role: Role;
  created_at: string;
  expires_at: string;
  invited_by: string;
}

export interface KeyOut {
  id: string;
  name: string;
  prefix: string;
  scopes: Permission[];
  created_at: string;
  created_by: string;
  expires_at: string | null;
  last_used_at: string | null;
}

export interface AuditEntry {
  id: string | number;
  at: string;
  user_id: string | null;
  who: string | null;
  action: string;
  target: string | null;
  data: Record<string, unknown>;
}

export interface UserOut {
  id: string;
  email: string;
  name: string;
  operator: boolean;
  disabled: boolean;
  created_at: string;
  projects: number;
}

export type LabelKind = "accept" | "edit" | "reject";

export interface Label {
  label: LabelKind;
  output: string | null;
  reason: string | null;
  by: string;
  at: string;
}

export type TaskDetail = Schemas["TaskDetail"] & { label?: Label | null };

export interface AgentOut {
  name: string;
  capabilities: string[];
  state: "idle" | "working" | "offline";
  tasks: { id: string; prompt: string; attempt: number; started_at: string; worker: string }[];
  last_heartbeat: string | null;
  today: {
    succeeded: number;
    rejected: number;
    failed: number;
    cancelled: number;
    running: number;
    queued: number;
    cost_usd: number | null;
    mean_s: number | null;
  };
}

export interface WorkerOut {
  name: string;
  role: string;
  started_at: string;
  heartbeat_at: string;
  alive: boolean;
}

export interface AgentList extends Items<AgentOut> {
  workers: WorkerOut[];
}

export interface TrafficRow {
  day: string;
  model: string;
  task_type: string;
  decisions: number;
  cost_usd: number | null;
  mean_quality: number | null;
}

export interface Ticket {
  ticket: string;
  expires_in: number;
}
