// Loaded as a separate file before the first paint, because the content security policy forbids inline scripts.
try {
  const theme = localStorage.getItem("kairos.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be blocked; the system theme then applies.
}
