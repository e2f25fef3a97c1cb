import { Link } from "@tanstack/react-router";
import { modelParams } from "../lib/modelPath";

/** A model's name with a link to its page. In table rows, which are focused themselves, the link is skipped by Tab. */
export function ModelLink({ name, inRow }: { name: string; inRow?: boolean }) {
  return (
    <Link to="/models/$name/$" params={modelParams(name)} preload={false} title={name} {...(inRow && { tabIndex: -1 })}>
      {name}
    </Link>
  );
}
