import { Link } from "@tanstack/react-router";
import type { ProviderOut } from "../../../api/types";
import { Button } from "../../../components/Button";
import { useT } from "../../../i18n/i18n";
import { TryModel } from "../TryModel";
import { ProviderLink } from "./ProviderLink";
import type { ProviderScope } from "./providerApi";

export interface AddedStepProps {
  scope: ProviderScope;
  provider: ProviderOut;
  /** Names in the catalogue. */
  models: string[];
  onAgain: () => void;
}

/** The first answer of each new model, on the spot. */
export function AddedStep({ scope, provider, models, onAgain }: AddedStepProps) {
  const t = useT();
  return (
    <div className="stack">
      <p className="muted">{t("providers.added_detail")}</p>
      {models.map((name) => (
        <section key={name} className="added-model" aria-label={name}>
          <h3 className="break">{name}</h3>
          <TryModel model={name} />
        </section>
      ))}
      <div className="row wrap">
        <Link to="/models" className="button button-primary">
          {t("providers.to_models")}
        </Link>
        <ProviderLink scope={scope} id={provider.id} className="button">
          {t("providers.to_provider")}
        </ProviderLink>
        <Button onClick={onAgain}>{t("providers.another")}</Button>
      </div>
    </div>
  );
}
