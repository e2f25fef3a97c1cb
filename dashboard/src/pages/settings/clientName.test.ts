import { expect, it } from "vitest";
import { clientName } from "./clientName";

it("recognizes browsers whose user agent contains several names", () => {
  const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
  expect(clientName(chrome)).toBe("Chrome · Linux");
  expect(clientName(`${chrome} Edg/126.0`)).toBe("Edge · Linux");
  expect(clientName("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile/15E148 Safari/604.1")).toBe("Safari · iOS");
  expect(clientName("kairos-cli/1.0")).toBe("kairos-cli/1.0");
});
