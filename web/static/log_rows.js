// Rows of a log. What an agent wrote is set as text, in the segments that the server made of it; nothing of it is parsed
// here. Rows stand in chunks of 200 that a browser lays out only near the view; the set-up's chunks are folded.

import { clock } from "./times.js";

const CHUNK = 200;
const blank = document.createElement("div");
blank.append(document.createElement("a"), document.createElement("span"));
blank.firstChild.tabIndex = -1;
blank.firstChild.append(document.createElement("time"));
blank.firstChild.firstChild.dataset.zone = "";

function marked(look, text) {
  const element = document.createElement("b");
  element.className = look;
  element.textContent = text;
  return element;
}

function row(line) {
  const element = blank.cloneNode(true);
  const [link, text] = element.children;
  element.id = `L${line.number}`;
  element.className = `line ${line.source} ${line.level}`;
  link.setAttribute("href", `#L${line.number}`);
  link.firstChild.dateTime = line.at;
  link.firstChild.textContent = clock(new Date(line.at));
  if (line.level !== "info") text.append(marked("level", `[${line.level.toUpperCase()}]`), " ");
  if (line.segments) text.append(...line.segments.map(([look, part]) => (look ? marked(look, part) : part)));
  else text.append(line.text);
  return element;
}

export const numberOf = (element) => Number(element.id.slice(1));

// The place of rows. `end` is the part of the log in front of which lines are put; null is the bottom.
export class Rows {
  constructor(log) {
    this.log = log;
    const agent = log.querySelector(".line.agent");
    this.began = agent ? numberOf(agent) : Infinity; // the first line of the agent that we know
  }

  place(lines, end = null) {
    const placed = [];
    for (const line of lines) {
      if (line.source === "agent" && line.number < this.began) this.began = line.number;
      const element = row(line);
      this.chunk(line.source === "setup" && line.number < this.began, end).append(element);
      placed.push(element);
    }
    for (const fold of this.log.querySelectorAll(".fold + .fold")) {
      fold.previousElementSibling.append(...fold.querySelectorAll(".chunk"));
      fold.remove();
    }
    for (const fold of this.log.querySelectorAll(".fold")) {
      const count = fold.querySelectorAll(".line").length;
      fold.querySelector("span").textContent = `${count} line${count === 1 ? "" : "s"}`;
    }
    return placed;
  }

  chunk(folded, end) {
    let home = this.log;
    let last = end ? end.previousElementSibling : home.lastElementChild;
    if (folded) {
      home = last?.matches(".fold") ? last : this.fold(end);
      last = home.lastElementChild;
      end = null;
    }
    if (last?.matches(".chunk") && last.childElementCount < CHUNK) return last;
    if (last?.matches(".chunk")) last.classList.add("full");
    const made = document.createElement("div");
    made.className = "chunk";
    home.insertBefore(made, end);
    return made;
  }

  fold(end) {
    const made = document.createElement("details");
    made.className = "fold";
    made.open = this.began === Infinity;
    const summary = document.createElement("summary");
    summary.append("Set-up · ", document.createElement("span"));
    made.append(summary);
    this.log.insertBefore(made, end);
    return made;
  }
}
