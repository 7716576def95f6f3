// A button that copies a text as it is shown: the one that it names, else the one behind it.

const SAID = 1600; // ms that the button says what happened

async function copied(text) {
  await navigator.clipboard.writeText(text.textContent);
  return "Copied";
}

// over plain http browsers have no clipboard for pages: the text is marked, the keys are the reader's
function marked(text) {
  getSelection().selectAllChildren(text);
  return "Marked: press Ctrl C";
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy) ?? button.nextElementSibling;
  const name = button.dataset.name ??= button.ariaLabel;
  const say = (word, label) => Object.assign(button, { textContent: word, ariaLabel: label });
  const said = await copied(text).catch(() => marked(text));
  say(said, said);
  setTimeout(() => say("Copy", name), SAID);
});
