import { Link } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useT } from "../../../i18n/i18n";
import { useScopes } from "./providerApi";
import "../../../components/Button.css";

/** A button to the page where models are added, for those who may. */
export function AddModelsLink({ label, primary }: { label?: string; primary?: boolean }) {
  const t = useT();
  if (!useScopes()?.length) return null;
  return (
    <Link to="/models/add" className={primary ? "button button-primary" : "button"}>
      <Plus aria-hidden />
      {label ?? t("providers.add_models")}
    </Link>
  );
}
