import { afterEach, describe, expect, it } from "vitest";
import { formatBytes, formatDuration, formatMoney, formatRelative } from "./format";
import { setLanguage, translate } from "./i18n";

afterEach(() => setLanguage("en"));

describe("messages", () => {
  it("chooses plural and language and fills placeholders", async () => {
    expect(translate("dataset.rows_new", { count: 1 })).toBe("1 new sample");
    expect(translate("dataset.rows_new", { count: 1200 })).toBe("1,200 new samples");
    await setLanguage("tr");
    expect(translate("dataset.rows_new", { count: 1200 })).toBe("1.200 yeni örnek");
    expect(document.documentElement.lang).toBe("tr");
  });
});

describe("formats", () => {
  it("keeps the precision of small sums and times", () => {
    expect(formatMoney(0.000123)).toBe("$0.00012");
    expect(formatMoney(12)).toBe("$12.00");
    expect(formatMoney(0)).toBe("$0.00");
    expect([0, 1023, 1024, 1536, 5 * 2 ** 30].map(formatBytes)).toEqual(["0 B", "1,023 B", "1 KiB", "1.5 KiB", "5 GiB"]);
    expect(formatDuration(0.25)).toBe("250ms");
    expect(formatDuration(125)).toBe("2m 5s");
    expect(formatRelative("2026-01-01T00:00:00Z", Date.parse("2026-01-01T02:10:00Z"))).toBe("2 hr. ago");
  });
});
