import { Link } from "@tanstack/react-router";

/** A model's name with a link to its page. In table rows, which are focused themselves, the link is skipped by Tab. */
export function ModelLink({ name, inRow }: { name: string; inRow?: boolean }) {
  return (
    <Link to="/models/details" search={{ name }} preload={false} title={name} {...(inRow && { tabIndex: -1 })}>
      {name}
    </Link>
  );
}
