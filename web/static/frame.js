// Around the page: how many requests wait for a person, on pages that hear of nothing by themselves, and what only a
// script can offer. Live pages bring the count with what else changed.

const EVERY = 10000;

async function count() {
  if (document.hidden) return;
  const answer = await fetch("/approvals/count", { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("waiting-count");
  if (fresh) document.getElementById("waiting-count")?.replaceWith(fresh);
}

for (const one of document.querySelectorAll("[data-scripted]")) one.hidden = false;
const look = () => count().catch(() => {}); // a plane that is away is asked again
setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
