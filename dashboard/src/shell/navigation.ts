import { Activity, Bot, ClipboardList, Cpu, GraduationCap, ScrollText, Settings, Users, type LucideIcon } from "lucide-react";
import type { Permission } from "../api/types";
import type { MessageKey } from "../i18n/i18n";

export interface NavEntry {
  to: "/" | "/tasks" | "/agents" | "/models" | "/learning" | "/audit" | "/settings" | "/users";
  name: MessageKey;
  icon: LucideIcon;
  /** The key after `g`. */
  letter: string;
  needs?: Permission;
  operators?: boolean;
}

export const NAV: NavEntry[] = [
  { to: "/", name: "nav.overview", icon: Activity, letter: "o" },
  { to: "/tasks", name: "nav.tasks", icon: ClipboardList, letter: "t", needs: "tasks:read" },
  { to: "/agents", name: "nav.agents", icon: Bot, letter: "a", needs: "agents:read" },
  { to: "/models", name: "nav.models", icon: Cpu, letter: "m", needs: "models:read" },
  { to: "/learning", name: "nav.learning", icon: GraduationCap, letter: "l", needs: "dataset:read" },
  { to: "/audit", name: "nav.audit", icon: ScrollText, letter: "d", needs: "audit:read" },
  { to: "/settings", name: "nav.settings", icon: Settings, letter: "s" },
  { to: "/users", name: "nav.users", icon: Users, letter: "u", operators: true },
];
