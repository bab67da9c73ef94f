// Keeps a page up to date. The server says only that something changed; htmx then fetches the part that is shown.
// A stream of events is held while the page is looked at; where there is none, the server is asked now and then.
"use strict";
(() => {
  const SILENT_MS = 25000; // the server says every 10 seconds that it is there
  const POLL_MS = 15000;
  const MARKED_MS = 60000; // so long a marked text keeps its part from being renewed
  const shown = document.getElementById("liveness");
  const readAt = document.getElementById("read-at");
  let mark = document.body.dataset.mark;
  let heard = Date.now();
  let stream = null;
  let focus = null;

  const clock = (ms) => `${new Date(ms).toISOString().slice(11, 19)} UTC`;
  const say = (live, text) => {
    if (shown.dataset.live !== live || live === "no") shown.textContent = text;
    shown.dataset.live = live;
  };

  function take(text) {
    heard = Date.now();
    say("yes", "It renews itself.");
    const found = JSON.parse(text);
    const time = readAt.querySelector("time");
    time.dateTime = found.at;
    time.title = "";
    time.textContent = found.at.replace("T", " ");
    if (found.mark !== mark) {
      mark = found.mark;
      htmx.trigger(document.body, "courier-changed");
    }
  }

  function open() {
    if (stream || document.hidden) return;
    stream = new EventSource("/events");
    for (const name of ["change", "beat"]) stream.addEventListener(name, (event) => take(event.data));
  }

  function close() {
    if (stream) stream.close();
    stream = null;
  }

  async function poll() {
    try {
      const answer = await fetch("/changes", { cache: "no-store", credentials: "same-origin" });
      if (answer.ok) return take(await answer.text());
      if (answer.status === 403) return say("no", "Not live: the dashboard was started anew; open the address that it printed.");
    } catch {
      // the server is away: said below
    }
    say("no", `Not live since ${clock(heard)}.`);
  }

  // A tab in the background holds no stream: a browser has few connections for all its tabs together.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    open();
    poll();
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  setInterval(() => {
    if (document.hidden) return;
    const closed = !stream || stream.readyState === EventSource.CLOSED;
    if (closed || Date.now() - heard > SILENT_MS) {
      if (closed) close();
      poll();
      open();
    }
  }, POLL_MS);

  // Nobody loses what is being typed, pressed or marked: the part is renewed when that is done.
  let pressed = false;
  let missed = 0; // since when a renewal is put off
  document.addEventListener("pointerdown", () => (pressed = true));
  for (const name of ["pointerup", "pointercancel"]) {
    document.addEventListener(name, () => setTimeout(() => (pressed = false)));
  }
  function isInUse(part) {
    const active = document.activeElement;
    if (pressed || (part.contains(active) && active.matches("input, select"))) return true;
    const marked = document.getSelection();
    const isMarked = !marked.isCollapsed && part.contains(marked.anchorNode);
    return isMarked && !(missed && Date.now() - missed > MARKED_MS);
  }
  setInterval(() => {
    const part = document.getElementById("live");
    if (missed && part && !isInUse(part)) htmx.trigger(document.body, "courier-changed");
  }, 1000);

  // The link that had the focus has it again in the same moment in which its part is renewed: not after the swap has
  // settled, as a key that is pressed before that would go nowhere.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const active = document.activeElement;
    const inside = event.target.contains(active) && active.matches("a[href], [id], [data-copy]");
    focus = inside ? [active.getAttribute("href"), active.id, active.dataset.copy] : null;
    if (event.detail.shouldSwap && isInUse(event.target)) {
      event.detail.shouldSwap = false;
      missed = missed || Date.now();
    } else {
      missed = 0;
    }
  });
  document.addEventListener("htmx:afterSwap", () => {
    unhide();
    if (!focus) return;
    const same = (one) => one.getAttribute("href") === focus[0] && one.id === focus[1] && one.dataset.copy === focus[2];
    const again = [...document.querySelectorAll("#live a[href], #live [id], #live [data-copy]")].find(same);
    focus = null;
    if (again) again.focus({ preventScroll: true });
  });

  function unhide() {
    if (!navigator.clipboard) return; // a browser has it for this computer's own pages and for https
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });

  unhide();
  say("yes", "It renews itself.");
  open();
})();
