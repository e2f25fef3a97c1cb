import "./States.css";

/** Placeholder with the size of the content being loaded. Set `aria-busy` on the surrounding region. */
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
