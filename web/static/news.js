// A list that somebody reads does not jump: rows that are new wait behind a button that counts them, rows that are there
// change in place. Who is at the top of the page, with nothing of the list under pointer or focus, sees them at once.

const button = document.querySelector("[data-fresh]");
let wanted = false;

const read = (list) => scrollY > 0 || list.matches(":hover, :focus-within");
const rows = (list) => [...list.querySelectorAll("tbody > tr[id]")];

// the list as it is to be shown now: `next` without what waits, and with what it pushed out
export function held(list, next) {
  if (!button || !("announced" in next.dataset)) return next;
  const shown = rows(list);
  const known = new Set(shown.map((row) => row.id));
  const coming = rows(next);
  const fresh = coming.filter((row) => !known.has(row.id));
  if (!fresh.length || !shown.length || wanted || !read(list)) {
    wanted = false;
    announce(0);
    return next;
  }
  const last = fresh.length < coming.length ? rows(next).filter((row) => known.has(row.id)).at(-1) : null;
  const kept = last ? shown.slice(shown.findIndex((row) => row.id === last.id) + 1) : shown;
  next.querySelector("tbody").append(...kept.map((row) => row.cloneNode(true)));
  fresh.forEach((row) => row.remove());
  announce(fresh.length);
  return next;
}

function announce(count) {
  button.hidden = count === 0;
  button.textContent = count ? `${count} new` : "";
}

// pressed, they are shown: `ask` is what brings the list as it is by now
export function opens(ask) {
  button?.addEventListener("click", () => {
    wanted = true;
    scrollTo({ top: 0 });
    ask();
  });
}
