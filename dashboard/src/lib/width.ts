import { useEffect, useState, type RefObject } from "react";

/** The content width of `box` in CSS pixels, updated on resize; `first` until it is measured. */
export function useWidth(box: RefObject<HTMLElement | null>, first: number): number {
  const [width, setWidth] = useState(first);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.round(entry.contentRect.width) || first));
    observer.observe(element);
    return () => observer.disconnect();
  }, [box, first]);
  return width;
}
