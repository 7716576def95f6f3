// Times as the viewer's clock has them, and times that go on while one looks. The server writes UTC and says so; every
// `<time datetime>` becomes local, with its zone and its UTC on hover. `data-ago` stays relative, `data-until` counts
// down, `data-due` has its zone beside it, `data-growing` (ms) is a duration that grows, `data-clock` and lines of
// a log have the time of day.

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const two = (n) => String(n).padStart(2, "0");
const date = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const month = new Intl.DateTimeFormat("en-GB", { month: "short" });

export const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const stamp = (at) => `${date(at)} ${clock(at)}`;
const utc = (at) => `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
const short = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });
const zone = (at) => short.formatToParts(at).find((part) => part.type === "timeZoneName").value;
const day = (at) => `${at.getDate()} ${month.format(at)} ${at.getFullYear()}, ${two(at.getHours())}:${two(at.getMinutes())}`;

// as web/format.py writes it, but for the zone of a date
function ago(at) {
  const seconds = Math.floor((Date.now() - at) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : day(at);
}

// once for each text that the server wrote: a morph takes the mark away with the text
export function localise(element) {
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.getTime())) return;
  element.dataset.zone = ZONE;
  element.title = `${stamp(at)} ${ZONE}, ${utc(at)}`;
  if (element.dataset.clock !== undefined || element.closest("[data-log]")) element.textContent = clock(at);
  else if (element.dataset.due !== undefined) element.textContent = `${stamp(at)} ${zone(at)}`;
  else if (element.dataset.ago === undefined && !element.dataset.until) element.textContent = stamp(at);
}

function left(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s left`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s left`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} min left`;
}

// as web/format.py writes it
function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return `${Math.floor(ms)} ms`;
  if (seconds < 60) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48 ? `${hours} h ${two(Math.floor(seconds / 60) % 60)} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// a duration that still grows: what the server said, and when we saw that first
const grown = new WeakMap();

function grow(element) {
  const said = element.dataset.growing;
  if (grown.get(element)?.said !== said) grown.set(element, { said, since: performance.now() });
  element.textContent = duration(Number(said) + performance.now() - grown.get(element).since);
}

export function tick() {
  document.querySelectorAll("time[data-ago]").forEach((element) => write(element, ago(new Date(element.dateTime))));
  document.querySelectorAll("[data-growing]").forEach(grow);
  for (const element of document.querySelectorAll("[data-until]")) {
    const ms = Date.parse(element.dataset.until) - Date.now();
    write(element, ms > 0 ? left(ms) : "time is over");
  }
}

// after a morph: what came from the server is made local and goes on
export function refreshTimes() {
  document.querySelectorAll("time[datetime]:not([data-zone])").forEach(localise);
  tick();
}

refreshTimes();
setInterval(tick, 1000);
