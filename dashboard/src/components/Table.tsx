import {
  flexRender,
  getCoreRowModel,
  getSortedRowModel,
  useReactTable,
  type ColumnDef,
  type Row,
  type RowData,
  type SortingState,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, ArrowUp } from "lucide-react";
import { useEffect, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { useT } from "../i18n/i18n";
import { Skeleton } from "./Skeleton";
import "./Table.css";

declare module "@tanstack/react-table" {
  // The type parameters must have the same names as in the library.
  interface ColumnMeta<TData extends RowData, TValue> {
    align?: "end";
    /** A CSS width; columns without one share the remaining space. */
    width?: string;
    /** Hidden on a phone. */
    wide?: boolean;
  }
}

export type Columns<T> = ColumnDef<T, any>[];

export interface TableProps<T> {
  label: string;
  rows: readonly T[];
  columns: Columns<T>;
  rowId: (row: T) => string;
  /** Called on Enter, or on a click in the row outside its links. */
  onOpen?: (row: T) => void;
  /** Called when the last rows become visible, to load the next page. */
  onEnd?: () => void;
  /** Clicking a column head sorts the loaded rows. Omit it for lists that the server pages. */
  sortable?: boolean;
  loading?: boolean;
  /** Shown instead of rows when there are none. */
  empty?: ReactNode;
  rowHeight?: number;
  /** Height of the scrolling box; by default it grows with its rows up to the window. */
  height?: string;
  /** Handles further keys on a row. */
  onRowKey?: (event: KeyboardEvent, row: T) => void;
}

export function Table<T>(props: TableProps<T>) {
  const { label, rows, columns, rowId, onOpen, onEnd, sortable = false, loading, empty, rowHeight = 36, height } = props;
  const t = useT();
  const box = useRef<HTMLDivElement>(null);
  const [sorting, setSorting] = useState<SortingState>([]);
  const [active, setActive] = useState<string | null>(null);
  const table = useReactTable({
    data: rows as T[],
    columns,
    getRowId: rowId,
    state: { sorting },
    onSortingChange: setSorting,
    enableSorting: sortable,
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
  });
  const model = table.getRowModel().rows;
  const virtual = useVirtualizer({
    count: model.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    getItemKey: (index) => model[index]?.id ?? index,
    overscan: 12,
    initialRect: { width: 800, height: 600 },
  });
  const shown = virtual.getVirtualItems();
  const lastShown = shown.at(-1)?.index ?? -1;
  const count = model.length;
  useEffect(() => {
    if (onEnd && count > 0 && lastShown >= count - 5) onEnd();
  }, [lastShown, count, onEnd]);

  function focusRow(index: number) {
    const row = model[Math.max(0, Math.min(count - 1, index))];
    if (!row) return;
    setActive(row.id);
    virtual.scrollToIndex(row.index === index ? index : model.indexOf(row));
    // A row outside the viewport is rendered only after the scroll.
    requestAnimationFrame(() => find(row.id)?.focus());
  }

  function find(id: string): HTMLElement | null {
    return box.current?.querySelector<HTMLElement>(`tr[data-row="${CSS.escape(id)}"]`) ?? null;
  }

  function onKey(event: KeyboardEvent<HTMLTableRowElement>, row: Row<T>, index: number) {
    if (event.target !== event.currentTarget || event.metaKey || event.ctrlKey || event.altKey) return;
    const page = Math.max(1, Math.floor((box.current?.clientHeight ?? 400) / rowHeight) - 2);
    const moves: Record<string, number> = {
      ArrowDown: index + 1,
      j: index + 1,
      ArrowUp: index - 1,
      k: index - 1,
      PageDown: index + page,
      PageUp: index - page,
      Home: 0,
      End: count - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) {
      event.preventDefault();
      focusRow(to);
    } else if (event.key === "Enter" && onOpen) {
      event.preventDefault();
      onOpen(row.original);
    } else props.onRowKey?.(event, row.original);
  }

  if (!loading && count === 0 && empty) return <>{empty}</>;
  const visible = table.getVisibleLeafColumns().length;
  const before = shown[0]?.start ?? 0;
  const after = count > 0 ? virtual.getTotalSize() - (shown.at(-1)?.end ?? 0) : 0;
  const focusable = active !== null && shown.some((item) => model[item.index]?.id === active) ? active : model[shown[0]?.index ?? 0]?.id;

  return (
    <div className="table-box" ref={box} style={height ? { height, maxHeight: height } : undefined}>
      <table className="table" aria-label={label} aria-rowcount={count + 1} aria-busy={loading || undefined}>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id} aria-rowindex={1}>
              {group.headers.map((header) => {
                const { meta } = header.column.columnDef;
                const sorted = header.column.getIsSorted();
                const text = flexRender(header.column.columnDef.header, header.getContext());
                return (
                  <th
                    key={header.id}
                    scope="col"
                    className={cellClass(meta)}
                    style={{ width: meta?.width }}
                    aria-sort={sorted ? (sorted === "asc" ? "ascending" : "descending") : undefined}
                  >
                    {header.column.getCanSort() ? (
                      <button type="button" className="table-sort" onClick={header.column.getToggleSortingHandler()}>
                        {text}
                        {sorted && (sorted === "asc" ? <ArrowUp aria-hidden /> : <ArrowDown aria-hidden />)}
                      </button>
                    ) : (
                      text
                    )}
                  </th>
                );
              })}
            </tr>
          ))}
        </thead>
        <tbody>
          {before > 0 && <tr aria-hidden style={{ height: before }} />}
          {shown.map((item) => {
            const row = model[item.index];
            if (!row) return null;
            return (
              <tr
                key={row.id}
                data-row={row.id}
                aria-rowindex={item.index + 2}
                tabIndex={row.id === focusable ? 0 : -1}
                className={onOpen ? "table-row table-open" : "table-row"}
                style={{ height: rowHeight }}
                onFocus={() => setActive(row.id)}
                onKeyDown={(event) => onKey(event, row, item.index)}
                onClick={(event) => {
                  if (onOpen && !(event.target as Element).closest("a, button, input, select, label")) onOpen(row.original);
                }}
              >
                {row.getVisibleCells().map((cell) => (
                  <td key={cell.id} className={cellClass(cell.column.columnDef.meta)}>
                    {flexRender(cell.column.columnDef.cell, cell.getContext())}
                  </td>
                ))}
              </tr>
            );
          })}
          {loading && count === 0 && <SkeletonBody rows={8} columns={visible} height={rowHeight} />}
          {after > 0 && <tr aria-hidden style={{ height: after }} />}
        </tbody>
      </table>
      {loading && <span className="visually-hidden">{t("common.loading")}</span>}
    </div>
  );
}

function SkeletonBody({ rows, columns, height }: { rows: number; columns: number; height: number }) {
  return Array.from({ length: rows }, (_, row) => (
    <tr key={row} aria-hidden style={{ height }}>
      {Array.from({ length: columns }, (_, column) => (
        <td key={column}>
          <Skeleton width="70%" />
        </td>
      ))}
    </tr>
  ));
}

function cellClass(meta: { align?: "end"; wide?: boolean } | undefined): string {
  return [meta?.align === "end" && "table-end", meta?.wide && "table-wide"].filter(Boolean).join(" ");
}
