// A page that changes while one looks at it. The server says what is so; this file asks again and morphs the parts that
// carry `data-live`, so that focus, selection and open details stay. It asks when the socket says that something changed;
// while there is no socket it asks every `data-every` milliseconds. Only log lines come by the socket themselves.

import { listen } from "./socket.js";

const SLOWEST = 15000;
const CALM = 30000; // with a socket, the page looks by itself this often: what no message tells is late, never wrong
const GAP = 200; // between two questions
const LINGER = 10000; // after the end, for the last lines of a log
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

// what can't be seen is named, as on the server: U+202E instead of a reversed line
const UNSEEN = /((?![\n\t])[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}])/u;

function named(character) {
  const element = document.createElement("b");
  element.className = "char";
  element.textContent = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return element;
}

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
    level.textContent = `[${line.level.toUpperCase()}]`;
    text.append(level, " ");
  }
  text.append(...line.text.split(UNSEEN).map((part, at) => (at % 2 ? named(part) : part)));
  element.append(time, text);
  return element;
}

// lines by socket and by question may overlap: a number is shown once
function add(lines) {
  const fresh = lines.filter((line) => line.number > Number(log.dataset.after));
  if (!fresh.length) return;
  log.append(...fresh.map(row));
  log.dataset.after = fresh.at(-1).number;
  if (!following) unread += fresh.length;
  showFollow();
}

async function readLog() {
  for (let more = true; more; ) {
    const answer = await fetch(`${log.dataset.log}?after=${log.dataset.after}`);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const { items } = await answer.json();
    add(items);
    more = items.length >= 500;
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

function tick() {
  document.querySelectorAll("[data-growing]").forEach(grow);
  for (const element of document.querySelectorAll("[data-until]")) {
    const ms = Date.parse(element.dataset.until) - Date.now();
    element.textContent = ms > 0 ? left(ms) : "time is over";
  }
}

// an open approval request: when it is decided elsewhere, the page says so, unless somebody is writing a reason
async function watchRequest(article) {
  const answer = await fetch(article.dataset.address, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-watch]");
  const writing = [...document.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
  const changed = fresh.dataset.watch !== article.dataset.watch || fresh.dataset.open !== article.dataset.open;
  if (changed || (!writing && article.dataset.open === "no")) morph(article, fresh);
  if (changed) document.title = document.title.replace(/^[^:]*/, fresh.querySelector("h2").textContent.trim());
  return article.dataset.settled === "yes";
}

// asking again ------------------------------------------------------------------------------------------------------

let connected = false;
let due = false;
let wake = () => {};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function ask() {
  due = true;
  wake();
}

// asks until the answer is yes; the question hears whether nobody told that it was time. `data-socket` is open once the
// page shows what is so and waits to be told.
async function keepAsking(question, every) {
  let wait = every;
  for (;;) {
    if (!due) await Promise.race([pause(connected && wait === every ? CALM : wait), new Promise((now) => (wake = now))]);
    const told = due;
    due = false;
    if (document.hidden && !told) continue;
    try {
      if (await question(!told)) return;
      wait = every;
      if (connected && !due) main.dataset.socket = "open";
    } catch {
      wait = Math.min(wait * 2, SLOWEST);
    }
    await pause(GAP);
  }
}

async function wholePage(missed) {
  const final = await refresh();
  if (log && (missed || final || !connected)) await readLog();
  return final;
}

// the socket --------------------------------------------------------------------------------------------------------

const topics = (main.dataset.topics ?? "").split(" ").filter(Boolean);
let seq = null; // of the last event; null begins with what comes next

function heard(message) {
  if (message.seq !== undefined) seq = message.seq;
  if (message.type !== "log") ask();
  else if (log) add(message.lines);
}

function up(yes) {
  if (connected && !yes) ask();
  connected = yes;
  if (!yes) main.dataset.socket = "closed";
}

const numbers = () => ({ after: seq, log: log ? Number(log.dataset.after) : null });
const watches = () => topics.map((watch) => ({ watch, ...(watch.startsWith("exe_") && numbers()) }));

async function live(question, every) {
  const end = topics.length ? listen(watches, { heard, up }) : () => {};
  await keepAsking(question, every);
  setTimeout(end, LINGER);
}

if (log) openLog();
if (main.dataset.every) live(wholePage, Number(main.dataset.every));
const request = document.querySelector("[data-watch]");
if (request && request.dataset.settled !== "yes") live(() => watchRequest(request), 2000);
tick();
setInterval(tick, 1000);
