// A page that changes while one looks at it. The server says what is so; this file asks again and morphs the parts that
// carry `data-live`, so that focus, selection and open details stay. `refresh` and `readLog` are what a socket calls, too.

const SLOWEST = 15000;
const main = document.querySelector("main");
const log = document.querySelector("[data-log]");

// what changed ------------------------------------------------------------------------------------------------------

function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || (old.id ?? "") !== (next.id ?? "")) {
    old.replaceWith(next);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
  } else if (old.nodeType === Node.ELEMENT_NODE && !old.isEqualNode(next)) {
    morphAttributes(old, next);
    morphChildren(old, next);
  }
}

function morphAttributes(old, next) {
  const kept = (name) => name === "open" && old.nodeName === "DETAILS";
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name) && !kept(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value && !kept(name)) old.setAttribute(name, value);
  }
}

function morphChildren(old, next) {
  let at = old.firstChild;
  for (const child of [...next.childNodes]) {
    const named = child.id && [...old.children].find((one) => one.id === child.id);
    if (named && named !== at) old.insertBefore(named, at);
    const mine = named || at;
    if (!mine || (mine.id && mine.id !== child.id)) {
      old.insertBefore(child, at);
    } else {
      at = mine.nextSibling;
      morph(mine, child);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

async function refresh() {
  const address = new URL(location.href);
  address.searchParams.set("part", "live");
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const mine = document.getElementById(part.id);
    if (mine) morph(mine, part);
    if (part.dataset.title) document.title = part.dataset.title;
  }
  tick();
  return fresh.querySelector("[data-final]") !== null;
}

// the log -----------------------------------------------------------------------------------------------------------

let following = true;
let unread = 0;

function row(line) {
  const element = document.createElement("div");
  element.id = `L${line.number}`;
  element.className = `${line.source} ${line.level}`;
  const time = document.createElement("time");
  time.dateTime = line.at;
  time.textContent = line.at.slice(11, 19);
  const text = document.createElement("span");
  if (line.level !== "info") {
    const level = document.createElement("b");
    level.className = "level";
    level.textContent = line.level.toUpperCase();
    text.append(level, " ");
  }
  text.append(line.text);
  element.append(time, text);
  return element;
}

async function readLog() {
  for (let more = true; more; ) {
    const answer = await fetch(`${log.dataset.log}?after=${log.dataset.after}`);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const { items } = await answer.json();
    const fresh = items.filter((line) => line.number > Number(log.dataset.after));
    log.append(...fresh.map(row));
    if (fresh.length) log.dataset.after = fresh.at(-1).number;
    if (!following) unread += fresh.length;
    more = fresh.length >= 500;
    showFollow();
  }
}

function showFollow() {
  const button = document.querySelector("[data-follow]");
  button.setAttribute("aria-pressed", String(following));
  button.textContent = following ? "Following" : "Follow";
  document.querySelector("[data-log-count]").textContent = following ? "" : unread ? `Paused · ${unread} new` : "Paused";
  if (following) log.scrollTop = log.scrollHeight;
}

function follow(wanted) {
  following = wanted;
  if (wanted) unread = 0;
  showFollow();
}

function openLog() {
  const button = document.querySelector("[data-follow]");
  button.hidden = false;
  button.addEventListener("click", () => follow(!following));
  log.addEventListener("wheel", (event) => event.deltaY < 0 && follow(false), { passive: true });
  log.addEventListener("touchmove", () => follow(false), { passive: true });
  log.addEventListener("keydown", (event) => {
    if (["ArrowUp", "PageUp", "Home"].includes(event.key)) follow(false);
    if (event.key === "End") follow(true);
  });
  follow(!location.hash.startsWith("#L"));
}

// time --------------------------------------------------------------------------------------------------------------

function left(ms) {
  const seconds = Math.floor(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  if (seconds < 60) return `${seconds} s left`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s left`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} min left`;
}

function tick() {
  for (const element of document.querySelectorAll("[data-until]")) {
    const ms = Date.parse(element.dataset.until) - Date.now();
    element.textContent = ms > 0 ? left(ms) : "time is over";
  }
}

// an open approval request: when it is decided elsewhere, the page says so, unless somebody is writing a reason
async function watchRequest(article) {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-watch]");
  const writing = [...document.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
  const changed = fresh.dataset.watch !== article.dataset.watch || fresh.dataset.open !== article.dataset.open;
  if (changed || (!writing && article.dataset.open === "no")) morph(article, fresh);
  if (changed) document.title = document.title.replace(/^[^:]*/, fresh.querySelector("h2").textContent.trim());
  return article.dataset.settled === "yes";
}

// asking again ------------------------------------------------------------------------------------------------------

async function keepAsking(question, every) {
  let wait = every;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (document.hidden) continue;
    try {
      if (await question()) return;
      wait = every;
    } catch {
      wait = Math.min(wait * 2, SLOWEST);
    }
  }
}

async function wholePage() {
  const final = await refresh();
  if (log) await readLog();
  return final;
}

if (log) openLog();
if (main.dataset.every) keepAsking(wholePage, Number(main.dataset.every));
const request = document.querySelector("[data-watch]");
if (request && request.dataset.settled !== "yes") keepAsking(() => watchRequest(request), 2000);
if (document.querySelector("[data-until]")) setInterval(tick, 1000);
