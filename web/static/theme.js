// The colours somebody chose for this browser, over those of the system, and that scripts run here. Runs before the page is
// drawn, so that it never flashes in the others; a page without scripts follows the system.

(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const show = (theme) => (theme ? (root.dataset.theme = theme) : delete root.dataset.theme);
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // a browser that keeps nothing
  }
  show(chosen);

  document.addEventListener("DOMContentLoaded", () => {
    const field = document.getElementById("theme");
    if (!field) return;
    field.value = root.dataset.theme ?? "";
    field.addEventListener("change", () => {
      show(field.value);
      try {
        localStorage.setItem("theme", field.value);
      } catch {
        // then it is for this page alone
      }
    });
  });
  addEventListener("storage", ({ key, newValue }) => key === "theme" && show(newValue));
})();
