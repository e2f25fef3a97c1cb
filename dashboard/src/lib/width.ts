import { useEffect, useState, type RefObject } from "react";

/** The width in CSS pixels of what `box` holds, followed as it changes; `first` until it is known. */
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
