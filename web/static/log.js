// The log of an execution: lines as they come, the end in view or what one reads held still, levels, and single lines by
// their address. Rows are in log_rows.js, what is not loaded in log_gaps.js, search in log_search.js.

import { Gaps } from "./log_gaps.js";
import { Rows, numberOf } from "./log_rows.js";
import { Search } from "./log_search.js";
import { localise } from "./times.js";

const FRAME = 1000; // rows made in one frame
const MOST = 100000; // rows of a log that is followed; the oldest go back into a gap
const READ = 500;

export const log = document.querySelector("[data-log]");
const button = document.querySelector("[data-follow]");
const pill = document.querySelector("[data-pill]");
const tools = document.querySelector(".logtools");
const broke = document.querySelector("[data-error]");
const rows = log && new Rows(log);
const waiting = []; // lines that are not on the page yet
let gaps, search;
let following = true;
let unread = 0;
let due = false;
let seen = { top: 0 };

// lines ---------------------------------------------------------------------------------------------------------------

// by socket and by question they may overlap: a number is shown once
export function add(lines) {
  const fresh = lines.filter((line) => line.number > Number(log.dataset.after));
  if (!fresh.length) return;
  log.dataset.after = fresh.at(-1).number;
  waiting.push(...fresh);
  nameError(fresh);
  soon();
}

function nameError(lines) {
  const first = broke.hidden && lines.find(({ level }) => level === "error");
  if (first) Object.assign(broke, { href: `#L${first.number}`, hidden: false });
}

function soon() {
  if (due) return;
  due = true;
  if (document.hidden) setTimeout(flush);
  else requestAnimationFrame(flush);
}

function flush() {
  due = false;
  const setup = rows.began === Infinity;
  const placed = rows.place(waiting.splice(0, FRAME));
  if (setup && rows.began !== Infinity && following) foldAll();
  if (!following) unread += placed.length;
  search.also(placed);
  trim();
  show();
  if (waiting.length) soon();
}

export async function readLog() {
  for (let more = true; more; ) {
    const answer = await fetch(`${log.dataset.log}?after=${log.dataset.after}`);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const { items } = await answer.json();
    add(items);
    more = items.length >= READ;
  }
}

function foldAll() {
  for (const fold of log.querySelectorAll(".fold:not([data-kept])")) fold.open = false;
}

function trim() {
  if (!following || log.getElementsByClassName("line").length <= MOST) return;
  const old = log.querySelector(".chunk");
  const last = numberOf(old.lastElementChild);
  const top = log.firstElementChild.matches(".gap") ? log.firstElementChild : gaps.make(1, last);
  const fold = old.closest(".fold");
  old.remove();
  if (fold && !fold.querySelector(".line")) fold.remove();
  log.prepend(gaps.name(top, 1, last));
  if (search.pattern) search.look(false);
}

// follow and pause ----------------------------------------------------------------------------------------------------

function stick() {
  if (following) log.scrollTop = log.scrollHeight;
}

function show() {
  log.classList.toggle("following", following);
  const words = following ? "Following" : unread ? `Paused · ${unread.toLocaleString("en")} new` : "Paused";
  if (button) {
    button.setAttribute("aria-pressed", String(following));
    button.textContent = following ? "Following" : "Follow";
  }
  pill.hidden = following || (!button && !unread);
  if (pill.textContent !== words) pill.textContent = words;
  stick();
}

// nothing more comes that one could stop following
export function over() {
  if (button) button.hidden = true;
}

function follow(wanted) {
  if (following === wanted) return;
  following = wanted;
  if (wanted) unread = 0;
  show();
}

// whoever moves up wants to read, by wheel, finger, key, scroll bar or the browser's own search
function scrolled() {
  const { scrollTop: top, scrollHeight, clientHeight } = log;
  if (top < seen.top && scrollHeight - clientHeight - top > 1) follow(false);
  seen = { top };
  stick();
}

function watchReader() {
  const long = () => log.scrollHeight > log.clientHeight;
  log.addEventListener("wheel", (event) => event.deltaY < 0 && long() && follow(false), { passive: true });
  log.addEventListener("keydown", (event) => {
    if (["ArrowUp", "PageUp", "Home"].includes(event.key) && long()) follow(false);
    if (event.key === "End") follow(true);
  });
  log.addEventListener("scroll", scrolled, { passive: true });
  log.addEventListener("contentvisibilityautostatechange", stick, true);
  new ResizeObserver(stick).observe(log);
  button?.addEventListener("click", () => follow(!following));
  pill.addEventListener("click", () => (follow(true), log.focus({ preventScroll: true })));
}

// single lines --------------------------------------------------------------------------------------------------------

function jump(row) {
  follow(false);
  const fold = row.closest(".fold");
  if (fold) fold.open = true;
  row.scrollIntoView({ block: "nearest" });
  const { top, height } = log.getBoundingClientRect();
  log.scrollTop += row.getBoundingClientRect().top - top - height / 3;
}

async function showAddressed() {
  const number = Number(/^#L(\d{1,12})$/.exec(location.hash)?.[1]);
  if (!number) return;
  follow(false);
  await gaps.serially(() => gaps.around(number));
  log.querySelector(".here")?.classList.remove("here");
  const row = document.getElementById(`L${number}`);
  if (!row) return;
  row.classList.add("here");
  if (!row.checkVisibility() && log.dataset.level) setLevel("");
  jump(row);
}

function setLevel(level) {
  tools.querySelector("[data-level]").value = level;
  log.dataset.level = level;
  search.look(false);
  stick();
}

function useTools() {
  const wrap = tools.querySelector("[data-wrap]");
  tools.querySelector("[data-level]").addEventListener("change", ({ target }) => setLevel(target.value));
  wrap.addEventListener("click", () => {
    wrap.setAttribute("aria-pressed", String(!log.classList.toggle("nowrap")));
    stick();
  });
  log.addEventListener("pointerover", ({ target }) => target.matches("time") && !target.title && localise(target));
  log.addEventListener("click", ({ target }) => {
    const fold = target.closest("summary")?.parentElement;
    if (fold) fold.dataset.kept = ""; // by hand: it stays as somebody wants it
  });
  tools.hidden = false;
  if (button) button.hidden = false;
}

if (log) {
  gaps = new Gaps(log, rows, () => search.look(false));
  search = new Search(log, tools, { gaps, jump });
  useTools();
  watchReader();
  show();
  showAddressed();
  addEventListener("hashchange", showAddressed);
}
