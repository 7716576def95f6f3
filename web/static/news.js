// Rows that somebody reads do not jump; what is there changes in place. On the list of executions new rows wait behind a
// button that counts them; who is at the top of the page, with nothing of the list under pointer or focus, sees them at
// once. In other tables they wait while pointer or focus is in the table. In the inbox a request that was decided
// elsewhere stays where it was, so that a finger meets the one that it was meant for.

const button = document.querySelector("[data-fresh]");
const TABLES = ".runs, .failures";
let wanted = false;
let waiting = false; // rows that come when pointer and focus have left
let away = false; // nobody looked meanwhile

const under = (list) => list.matches(":hover, :focus-within");
const rows = (list) => [...(list?.querySelectorAll("tbody > tr[id]") ?? [])];

// the part as it is to be shown now
export function held(part, next) {
  if (button && "announced" in next.dataset) announced(part, next);
  else if (part.id === "inbox") inbox(part, next);
  else for (const table of part.querySelectorAll(TABLES)) if (under(table)) waits(table, next);
  return next;
}

function announced(list, next) {
  const reads = !wanted && (scrollY > 0 || under(list));
  wanted = false;
  announce(reads ? still(list, next) : 0);
}

function waits(table, next) {
  const named = table.closest("section").getAttribute("aria-labelledby");
  const coming = next.querySelector(`[aria-labelledby="${named}"] table`);
  if (coming && still(table, coming)) waiting = true;
}

// takes out of `next` what is new, and puts back what that pushed out; how many are new
function still(list, next) {
  const shown = rows(list);
  const known = new Set(shown.map((row) => row.id));
  const coming = rows(next);
  const fresh = coming.filter((row) => !known.has(row.id));
  if (!fresh.length || !shown.length) return 0;
  const last = fresh.length < coming.length ? coming.filter((row) => known.has(row.id)).at(-1) : null;
  const kept = last ? shown.slice(shown.findIndex((row) => row.id === last.id) + 1) : shown;
  next.querySelector("tbody").append(...kept.map((row) => row.cloneNode(true)));
  fresh.forEach((row) => row.remove());
  return fresh.length;
}

function announce(count) {
  button.hidden = count === 0;
  button.textContent = count ? `${count} new` : "";
}

// the inbox -----------------------------------------------------------------------------------------------------------

const PANELS = ["mine-panel", "waiting-panel"];

function inbox(part, next) {
  const forget = away;
  away = false;
  const open = new Set(PANELS.flatMap((id) => rows(next.querySelector(`#${id}`))).map((row) => row.id));
  for (const id of forget ? [] : PANELS) {
    const panel = part.querySelector(`#${id}`);
    rows(panel).forEach((row, at) => {
      if (open.has(row.id)) return;
      const body = bodyOf(panel, next);
      body.insertBefore(over(row, next), body.children[at] ?? null);
    });
  }
}

// where rows of a panel stand in `next`, which may have nothing to show there by now
function bodyOf(panel, next) {
  const there = next.querySelector(`#${panel.id}`);
  if (there?.querySelector("tbody")) return there.querySelector("tbody");
  const again = panel.cloneNode(true);
  const body = again.querySelector("tbody");
  body.replaceChildren();
  if (there) there.replaceWith(again);
  else if (panel.id === PANELS[0]) next.prepend(again);
  else next.insertBefore(again, next.querySelector("#closed-panel"));
  return body;
}

// a request that waits no more, told where it stood instead of among those that are over
function over(row, next) {
  const decided = next.querySelector(`#closed-panel #${row.id}`);
  const status = decided?.querySelector(".badge")?.textContent.trim();
  decided?.remove();
  const kept = row.cloneNode(true);
  kept.classList.add("over");
  const [left, action] = [...kept.children].slice(-2);
  left.textContent = "—";
  if (status || action.querySelector("a")) action.textContent = status ?? "Over";
  return kept;
}

// when they are shown after all: `ask` is what brings the page as it is by now
export function opens(ask) {
  button?.addEventListener("click", () => {
    wanted = true;
    scrollTo({ top: 0 });
    ask();
  });
  const left = () => {
    if (!waiting || [...document.querySelectorAll(TABLES)].some(under)) return;
    waiting = false;
    ask();
  };
  for (const event of ["pointerout", "focusout"]) document.addEventListener(event, left);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    away = true;
    ask();
  });
}
