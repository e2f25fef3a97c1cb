// Prints the compressed size of the first load: the entry's static import graph, its styles and the page.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 250;
const folder = new URL("../../src/kairos/dashboard_files/", import.meta.url).pathname;
const manifest = JSON.parse(readFileSync(join(folder, ".vite/manifest.json"), "utf8"));
const files = new Set(["index.html", "theme.js"]);
const seen = new Set();

function visit(key) {
  if (seen.has(key)) return;
  seen.add(key);
  const chunk = manifest[key];
  files.add(chunk.file);
  for (const css of chunk.css ?? []) files.add(css);
  for (const other of chunk.imports ?? []) visit(other);
}

for (const [key, chunk] of Object.entries(manifest)) if (chunk.isEntry) visit(key);
// Loaded next on every signed-in visit: the overview and its imports.
for (const key of Object.keys(manifest)) if (key.endsWith("OverviewPage.tsx")) visit(key);

let total = 0;
for (const file of [...files].sort()) {
  const bytes = gzipSync(readFileSync(join(folder, file)), { level: 9 }).length;
  total += bytes;
  console.log(`${(bytes / 1000).toFixed(1).padStart(8)} kB  ${file}`);
}
console.log(`${(total / 1000).toFixed(1).padStart(8)} kB  in total, of ${LIMIT_KB} kB allowed`);
if (total > LIMIT_KB * 1000) process.exit(1);
