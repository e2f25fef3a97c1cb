import { Account } from "./Account";
import { Password } from "./Password";
import { Preferences } from "./Preferences";
import { Sessions } from "./Sessions";
import "./settings.css";

/** Settings of the user rather than of the project. */
export function SessionsSection() {
  return (
    <div className="sections">
      <Account />
      <Preferences />
      <Password />
      <Sessions />
    </div>
  );
}
