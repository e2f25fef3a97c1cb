// A file of its own, loaded before anything is painted: the content policy forbids inline scripts.
try {
  const theme = localStorage.getItem("kairos.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be blocked; the system's theme applies then.
}
