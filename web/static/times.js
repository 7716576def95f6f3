// Times that go on while one looks: durations that grow (`data-growing`, ms) and countdowns (`data-until`).

function left(ms) {
  const seconds = Math.floor(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  if (seconds < 60) return `${seconds} s left`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s left`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} min left`;
}

// as web/format.py writes it
function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  if (seconds < 1) return `${Math.floor(ms)} ms`;
  if (seconds < 60) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48 ? `${hours} h ${two(Math.floor(seconds / 60) % 60)} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// a duration that still grows: what the server said, and when we saw that first
const grown = new WeakMap();

function grow(element) {
  const said = element.dataset.growing;
  if (grown.get(element)?.said !== said) grown.set(element, { said, since: performance.now() });
  element.textContent = duration(Number(said) + performance.now() - grown.get(element).since);
}

export function tick() {
  document.querySelectorAll("[data-growing]").forEach(grow);
  for (const element of document.querySelectorAll("[data-until]")) {
    const ms = Date.parse(element.dataset.until) - Date.now();
    element.textContent = ms > 0 ? left(ms) : "time is over";
  }
}

tick();
setInterval(tick, 1000);
