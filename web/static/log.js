// The log of an execution: rows from lines, following the end, and what is new while one reads further up.

import { localise } from "./times.js";

export const log = document.querySelector("[data-log]");
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
  time.dataset.clock = "";
  localise(time);
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
export function add(lines) {
  const fresh = lines.filter((line) => line.number > Number(log.dataset.after));
  if (!fresh.length) return;
  log.append(...fresh.map(row));
  log.dataset.after = fresh.at(-1).number;
  if (!following) unread += fresh.length;
  showFollow();
}

export async function readLog() {
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

if (log) openLog();
