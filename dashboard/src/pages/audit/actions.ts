import type { AuditAction } from "../../api/types";
import type { MessageKey } from "../../i18n/i18n";

/** The translation of an action; none for an action of a newer daemon. */
export function messageOf(action: string): MessageKey | undefined {
  return (ACTIONS as Partial<Record<string, MessageKey>>)[action];
}

export const ACTIONS: Record<AuditAction, MessageKey> = {
  "project.created": "action.project_created",
  "project.changed": "action.project_changed",
  "project.archived": "action.project_archived",
  "project.restored": "action.project_restored",
  "project.exported": "action.project_exported",
  "project.deleted": "action.project_deleted",
  "project.erased": "action.project_erased",
  "member.invited": "action.member_invited",
  "member.invitation_revoked": "action.member_invitation_revoked",
  "member.joined": "action.member_joined",
  "member.role_changed": "action.member_role_changed",
  "member.removed": "action.member_removed",
  "member.left": "action.member_left",
  "key.created": "action.key_created",
  "key.revoked": "action.key_revoked",
  "access.refused": "action.access_refused",
  "user.created": "action.user_created",
  "user.changed": "action.user_changed",
  "password.set": "action.password_set",
  "password.changed": "action.password_changed",
  "password.reset_link": "action.password_reset_link",
  "sign_in.refused": "action.sign_in_refused",
  "sign_out.everywhere": "action.sign_out_everywhere",
  "session.token_reused": "action.session_token_reused",
  "config.changed": "action.config_changed",
  "signing_key.rotated": "action.signing_key_rotated",
  sign_in: "action.sign_in",
  sign_out: "action.sign_out",
  "dataset.imported": "action.dataset_imported",
  "dataset.cleared": "action.dataset_cleared",
  "dataset.erased": "action.dataset_erased",
  "training.started": "action.training_started",
  "adapter.ruled": "action.adapter_ruled",
  "adapter.promoted": "action.adapter_promoted",
  "adapter.refused": "action.adapter_refused",
  "adapter.rolled_back": "action.adapter_rolled_back",
  other: "action.other",
  "adapter.deleted": "action.adapter_deleted",
};
