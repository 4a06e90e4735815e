// Fetches the figures every five seconds and changes what has changed. The page is whole without
// it: it then loads anew by itself.
"use strict";

const EVERY_MS = 5000;
const GIVE_UP_MS = 4000;
const { figures: address, lost, assets } = document.body.dataset;
const notice = document.getElementById("notice");

// Told once, not with every try: a screen reader reads each change aloud.
function tell(text) {
  if (notice.textContent !== text) notice.textContent = text;
}

// Same elements, other words: put only those in. Anything else: all of it.
function change(now, next) {
  if (now.isEqualNode(next)) return;
  const parts = [...now.children];
  const fit =
    parts.length > 0 &&
    now.tagName === next.tagName &&
    parts.length === next.children.length &&
    now.cloneNode(false).isEqualNode(next.cloneNode(false));
  if (!fit) now.replaceWith(next);
  else parts.forEach((part, at) => change(part, next.children[at]));
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
    tell(next.dataset.notice);
    change(document.getElementById("figures"), document.importNode(next, true));
  } catch {
    tell(lost);
  }
}

async function keepUpdating() {
  if (!document.hidden) await update();
  setTimeout(keepUpdating, EVERY_MS);
}

document.addEventListener("visibilitychange", () => document.hidden || update());
setTimeout(keepUpdating, EVERY_MS);
