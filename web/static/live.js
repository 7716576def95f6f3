// A page that changes while one looks at it. The server says what is so; this file asks again and morphs the parts that
// carry `data-live`, so that focus, selection and open details stay. It asks when the socket says that something changed;
// while there is no socket it asks every `data-every` milliseconds. Only log lines come by the socket themselves.

import { add, log, over, readLog } from "./log.js";
import { held, opens } from "./news.js";
import { listen } from "./socket.js";
import { refreshTimes } from "./times.js";

const SLOWEST = 15000;
const CALM = 30000; // with a socket, the page looks by itself this often: what no message tells is late, never wrong
const GAP = 200; // from one question to the next
const TOGETHER = 15; // ms in which the messages of one change come
const LINGER = 10000; // after the end, for the last lines of a log
const main = document.querySelector("main");

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
    const found = child.id && document.getElementById(child.id);
    const named = found?.parentNode === old && found;
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

async function parsed(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  // whoever was signed out, or has another role now, sees what a fresh page says: how to sign in and come back, or why not
  const shut = answer.redirected || answer.status === 403;
  if (shut) location.reload();
  if (shut || !answer.ok) throw new Error(`${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function refresh() {
  const address = new URL(location.href);
  address.searchParams.set("part", "live");
  const fresh = await parsed(address);
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const mine = document.getElementById(part.id);
    if (mine) morph(mine, held(mine, part));
    if (part.dataset.title) document.title = part.dataset.title;
    if (part.dataset.icon) document.querySelector("link[rel=icon]").href = part.dataset.icon;
  }
  refreshTimes();
  return fresh.querySelector("[data-final]") !== null;
}

// an open approval request: when it is decided elsewhere, the page says so, unless somebody is writing a reason
async function watchRequest(article) {
  const fresh = (await parsed(article.dataset.address)).querySelector("[data-watch]");
  const writing = [...document.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
  const changed = fresh.dataset.watch !== article.dataset.watch || fresh.dataset.open !== article.dataset.open;
  if (changed || (!writing && article.dataset.open === "no")) morph(article, fresh);
  refreshTimes();
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
    if (told) await pause(TOGETHER);
    due = false;
    if (document.hidden && !told) continue;
    const began = performance.now();
    try {
      if (await question(!told)) return;
      wait = every;
      if (connected && !due) main.dataset.socket = "open";
    } catch {
      wait = Math.min(wait * 2, SLOWEST);
    }
    await pause(Math.max(0, began + GAP - performance.now()));
  }
}

async function wholePage(missed) {
  const final = await refresh();
  if (final) over();
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

opens(ask);
if (main.dataset.every) live(wholePage, Number(main.dataset.every));
const request = document.querySelector("[data-watch]");
if (request && request.dataset.settled !== "yes") live(() => watchRequest(request), 2000);
