// The keyboard: `/` to what searches or filters the page, `g` and a letter to a place of the sidebar, `?` for the list of
// them, Esc out of what is open. Never with a modifier, and never while somebody types.

const SECOND = 1500; // for the key after `g`
const TYPING = "input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]";
const SEARCHES = "main [type=search], main .filters input, main .filters select, main form[method=get] select";
const keys = document.getElementById("keys");
let going = 0; // when `g` was pressed

function find() {
  const field = [...document.querySelectorAll(SEARCHES)].find((one) => one.checkVisibility());
  field?.focus();
  field?.select?.();
  return Boolean(field);
}

function go(key) {
  const place = document.querySelector(`.side [data-key="${CSS.escape(key)}"]`);
  place?.click();
  return Boolean(place);
}

function leave(target) {
  const open = target.closest("details.confirm[open]") ?? document.querySelector("details.confirm[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  } else if (target.matches(TYPING)) {
    target.blur();
  }
}

function press(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  if (document.querySelector("dialog[open]")) return;
  if (key === "Escape") return leave(target);
  if (target.closest(TYPING)) return;
  const went = going && performance.now() - going < SECOND && go(key);
  going = key === "g" && !went ? performance.now() : 0;
  if (!went && key === "?") keys.showModal();
  if (went || key === "?" || (key === "/" && find())) event.preventDefault();
}

document.addEventListener("keydown", press);
document.querySelector("[data-keys]")?.addEventListener("click", () => keys.showModal());
keys.addEventListener("click", ({ target }) => target === keys && keys.close());
