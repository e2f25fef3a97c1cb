import { expect, it } from "vitest";
import { axisOf, best, pointsOf, shareDone } from "./curve";

const curve = [
  { step: 1, loss: 2.5, validation_loss: null },
  { step: 10, loss: 1.25, validation_loss: 1.5 },
  { step: 20, loss: Number.NaN, validation_loss: 1.25 },
  { step: 30, loss: 0.5, validation_loss: 1.75 },
];

it("returns the measured points and the best step", () => {
  expect(pointsOf(curve, "loss").map(({ step }) => step)).toEqual([1, 10, 30]);
  expect(best(curve)).toEqual({ step: 20, value: 1.25 });
  expect(best([])).toBeNull();
});

it("returns round ticks that cover every value", () => {
  expect(axisOf([0.52, 2.48])).toEqual({ low: 0.5, high: 2.5, ticks: [0.5, 1, 1.5, 2, 2.5] });
  expect(axisOf([0, 300]).ticks).toEqual([0, 100, 200, 300]);
  for (const values of [[1], [0], [1e-7, 2e-7], [3, 3], []]) {
    const { low, high, ticks } = axisOf(values);
    expect(high).toBeGreaterThan(low);
    expect(ticks.length).toBeLessThan(12);
    for (const value of values) expect(value >= low && value <= high).toBe(true);
  }
});

it("reports progress only while the run trains", () => {
  expect(shareDone({ state: "training", progress: { step: 5, steps: 20, curve: [] } })).toBe(0.25);
  expect(shareDone({ state: "evaluating", progress: { step: 20, steps: 20, curve: [] } })).toBeNull();
  expect(shareDone({ state: "training", progress: { curve: [] } })).toBeNull();
});
