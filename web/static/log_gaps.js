// Lines that the page has not got: a button stands where they belong and brings them, 500 at a time. A page begins with
// the last lines; a permalink further up is shown with what is around it.

import { numberOf } from "./log_rows.js";

const PAGE = 500;
const AROUND = 100; // lines above the one that a permalink names

export class Gaps {
  constructor(log, rows, changed) {
    Object.assign(this, { log, rows, changed, work: Promise.resolve() });
    const first = Number(log.dataset.first);
    if (first > 1) log.prepend(this.make(1, first - 1));
    log.addEventListener("click", ({ target }) => {
      if (target.matches(".gap")) this.serially(() => this.next(target));
    });
  }

  get missing() {
    return [...this.log.querySelectorAll(".gap")].reduce((sum, { dataset }) => sum + 1 + (dataset.to - dataset.from), 0);
  }

  // one after another: each looks at what the one before it left
  serially(job) {
    this.work = this.work.then(job).catch(() => {});
    return this.work;
  }

  make(from, to) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "gap";
    return this.name(made, from, to);
  }

  name(gap, from, to) {
    Object.assign(gap.dataset, { from, to });
    const more = to - from + 1;
    const count = Math.min(more, PAGE) === more ? "" : ` of ${more.toLocaleString("en")}`;
    const which = gap.previousElementSibling ? "more" : "earlier";
    gap.textContent = `Show ${Math.min(more, PAGE)}${count} ${which} line${more === 1 ? "" : "s"}`;
    return gap;
  }

  // the end of what is above everything, else the beginning
  async next(gap) {
    const { from, to } = gap.dataset;
    if (gap.isConnected) await this.fill(gap, gap.previousElementSibling ? Number(from) : Math.max(from, to - PAGE + 1));
  }

  async around(number) {
    const gap = [...this.log.querySelectorAll(".gap")].find(({ dataset }) => dataset.from <= number && number <= dataset.to);
    if (gap) await this.fill(gap, Math.max(gap.dataset.from, number - AROUND));
  }

  async all() {
    for (let gap; (gap = this.log.querySelector(".gap")); ) await this.fill(gap, Number(gap.dataset.from));
  }

  async fill(gap, begin) {
    const from = Number(gap.dataset.from);
    const to = Number(gap.dataset.to);
    const answer = await fetch(`${this.log.dataset.log}?after=${begin - 1}&limit=${Math.min(PAGE, to - begin + 1)}`);
    const { items } = await answer.json();
    if (!answer.ok || !items.length) throw new Error(`${answer.status}`);
    this.keepView(gap.nextElementSibling, () => {
      if (begin > from) gap.before(this.make(from, begin - 1));
      const placed = this.rows.place(items, gap);
      const last = numberOf(placed.at(-1));
      if (last < to) this.name(gap, last + 1, to);
      else gap.remove();
      this.log.querySelectorAll(".gap").forEach((one) => this.name(one, Number(one.dataset.from), Number(one.dataset.to)));
    });
    this.changed();
  }

  // rows in front of what one looks at do not move it
  keepView(below, change) {
    const seen = below?.querySelector(".line") ?? below;
    const before = seen?.getBoundingClientRect().top;
    change();
    if (before !== undefined && before >= this.log.getBoundingClientRect().top - 1) {
      this.log.scrollTop += seen.getBoundingClientRect().top - before;
    }
  }
}
