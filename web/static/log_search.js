// Search in the lines that are there, with CSS highlights: ranges over the text, the rows stay as they are. What the page
// has not got is said beside the count, and can be brought.

import { numberOf } from "./log_rows.js";

const MOST = 10000; // hits that are shown
const CALM = 150; // ms after the last key
const RANK = { info: 0, warning: 1, error: 2 };

// where in the text nodes of a row a piece of its text begins and ends
function ranges(text, pattern) {
  const whole = text.textContent;
  const found = [...whole.matchAll(pattern)].filter((match) => match[0]);
  if (!found.length) return [];
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  let node = walker.nextNode();
  let start = 0;
  const spot = (at, ending) => {
    while (at - start > node.length || (!ending && at - start === node.length)) {
      start += node.length;
      node = walker.nextNode();
    }
    return [node, at - start];
  };
  return found.map((match) => {
    const range = new Range();
    range.setStart(...spot(match.index, false));
    range.setEnd(...spot(match.index + match[0].length, true));
    return range;
  });
}

export class Search {
  constructor(log, tools, { gaps, jump }) {
    Object.assign(this, { log, gaps, jump, hits: [], at: -1, timer: 0 });
    this.field = tools.querySelector("[data-find]");
    this.said = tools.querySelector("[data-found]");
    this.more = tools.querySelector("[data-all]");
    this.steps = [...tools.querySelectorAll("[data-hit]")];
    CSS.highlights.set("found", (this.found = new Highlight()));
    CSS.highlights.set("here", (this.here = new Highlight()));
    this.here.priority = 1;
    this.field.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.look(true), CALM);
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
      if (event.key === "Escape" && this.field.value) {
        event.stopPropagation();
        this.field.value = "";
        this.look(false);
      }
    });
    this.steps.forEach((button) => button.addEventListener("click", () => this.step(Number(button.dataset.hit))));
    this.more.addEventListener("click", () => this.gaps.serially(() => this.gaps.all()));
  }

  // all anew: another word, another filter, or rows between the others
  look(go) {
    const word = this.field.value;
    this.pattern = word && new RegExp(word.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&").replaceAll("\\-", "-"), "gi");
    this.hits = [];
    this.at = -1;
    this.found.clear();
    this.here.clear();
    this.also(this.log.querySelectorAll(".line"));
    if (go && this.hits.length) this.go(this.nearest());
  }

  // rows that came at the bottom
  also(rows) {
    const least = RANK[this.log.dataset.level] ?? 0;
    for (const row of this.pattern ? rows : []) {
      if (this.hits.length >= MOST) break;
      if (least && !(RANK[row.classList[2]] >= least)) continue;
      for (const range of ranges(row.lastElementChild, this.pattern)) {
        this.hits.push(range);
        this.found.add(range);
      }
    }
    this.say();
  }

  step(by) {
    if (this.hits.length) this.go(this.at < 0 ? this.nearest() : (this.at + by + this.hits.length) % this.hits.length);
  }

  // the first hit from the top of the view on
  nearest() {
    const { left, top } = this.log.getBoundingClientRect();
    const row = document.elementFromPoint(left + 40, top + 12)?.closest(".line");
    const at = row ? this.hits.findIndex((hit) => numberOf(this.rowOf(hit)) >= numberOf(row)) : 0;
    return Math.max(at, 0);
  }

  rowOf(hit) {
    return hit.startContainer.parentElement.closest(".line");
  }

  go(at) {
    this.at = at;
    this.here.clear();
    this.here.add(this.hits[at]);
    this.jump(this.rowOf(this.hits[at]));
    this.say();
  }

  ofLevel(level) {
    const named = Object.keys(RANK).filter((name) => RANK[name] >= RANK[level]);
    const count = named.reduce((sum, name) => sum + this.log.getElementsByClassName(`line ${name}`).length, 0);
    return `${count || "No"} ${count === 1 ? "line" : "lines"} of this level`;
  }

  say() {
    const { missing } = this.gaps;
    const count = this.hits.length >= MOST ? `${MOST.toLocaleString("en")}+` : this.hits.length;
    const what = this.at < 0 ? `${count} found` : `${this.at + 1} of ${count}`;
    const level = this.log.dataset.level;
    const words = this.pattern ? what : level ? this.ofLevel(level) : "";
    this.said.textContent = words && missing ? `${words} in the lines shown` : words;
    this.more.hidden = !words || !missing;
    this.more.textContent = `Search ${missing.toLocaleString("en")} more`;
    this.steps.forEach((button) => (button.disabled = !this.hits.length));
  }
}
