// Fetches the figures every five seconds and replaces what has changed. Without this script the
// page reloads by itself.
"use strict";

const EVERY_MS = 5000;
const GIVE_UP_MS = 4000;
const { figures: address, lost, assets } = document.body.dataset;
const notice = document.getElementById("notice");

// Only a new text is set, not the same one after each try: a screen reader reads every change.
function notify(text) {
  if (notice.textContent !== text) notice.textContent = text;
}

// Where the elements are the same, only changed texts are replaced; otherwise the whole element is.
function change(now, next) {
  if (now.isEqualNode(next)) return;
  const children = [...now.children];
  const fit =
    children.length > 0 &&
    now.tagName === next.tagName &&
    children.length === next.children.length &&
    now.cloneNode(false).isEqualNode(next.cloneNode(false));
  if (!fit) now.replaceWith(next);
  else children.forEach((child, at) => change(child, next.children[at]));
}

async function update() {
  try {
    const answer = await fetch(address, {
      cache: "no-store",
      signal: AbortSignal.timeout(GIVE_UP_MS),
    });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById("figures");
    if (next.dataset.assets !== assets) return location.reload();
    notify(next.dataset.notice);
    change(document.getElementById("figures"), document.importNode(next, true));
  } catch {
    notify(lost);
  }
}

async function keepUpdating() {
  if (!document.hidden) await update();
  setTimeout(keepUpdating, EVERY_MS);
}

document.addEventListener("visibilitychange", () => document.hidden || update());
setTimeout(keepUpdating, EVERY_MS);
