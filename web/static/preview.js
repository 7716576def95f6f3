// The Test Run's preview: while one types a payload, the server renders the prompt with it, and says what is wrong with
// it. The button of the same name does that without this file.

const WAIT = 250; // after the last key
const form = document.querySelector("form[data-preview]");
let timer;
let asked = 0;

async function render() {
  const mine = ++asked;
  const shown = document.getElementById("preview");
  shown.setAttribute("aria-busy", "true");
  try {
    const address = new URL(form.dataset.preview, location.href);
    address.searchParams.set("part", "preview");
    const body = new URLSearchParams({ payload: form.elements.payload.value });
    const answer = await fetch(address, { method: "POST", body, headers: { accept: "text/html" } });
    if (mine !== asked || !answer.ok) return; // a later question is under way, or the page as it is says more
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("preview");
    if (fresh) shown.replaceChildren(...fresh.childNodes);
  } catch {
    // the plane is away: the preview is as old as it looks, and the next key asks again
  } finally {
    if (mine === asked) shown.removeAttribute("aria-busy");
  }
}

form?.elements.payload.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(render, WAIT);
});
