import "./States.css";

/** Holds the place of what is being loaded, in its size. The region around it should say `aria-busy`. */
export function Skeleton({ width = "100%", height = 14 }: { width?: number | string; height?: number | string }) {
  return <span className="skeleton" style={{ width, height }} aria-hidden />;
}

export function SkeletonRows({ rows = 8, height = 20 }: { rows?: number; height?: number }) {
  return (
    <div className="stack" aria-busy>
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={height} width={`${92 - ((row * 17) % 30)}%`} />
      ))}
    </div>
  );
}
