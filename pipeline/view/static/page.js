// The live page beyond htmx: apply updates, open the panel of a task, scroll logs, show errors.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const redraw = () => window.patchyard.redraw();

  // An update holds the new state of elements, each in a template; a new element is appended to `data-into`.
  function applyUpdate(html) {
    const box = document.createElement("template");
    box.innerHTML = html;
    const focused = document.activeElement?.id;
    const reachable = document.querySelector("#lanes .bar[tabindex='0']")?.id;
    for (const one of box.content.querySelectorAll("template")) {
      if (one.dataset.title) document.title = one.dataset.title;
      const made = one.content.firstElementChild;
      if (!made?.id) continue;
      const before = byId(made.id);
      const place = before ? null : byId(one.dataset.into);
      if (before?.isEqualNode(made)) continue;
      if (before) before.replaceWith(made);
      else if (place) place.append(made);
      else {
        if (loading) missed.set(made.id, made);
        continue;
      }
      if (made.matches("[hx-get]") || made.querySelector("[hx-post]")) htmx.process(made);
    }
    if (reachable && byId(reachable)) byId(reachable).tabIndex = 0;
    if (focused && document.activeElement?.id !== focused) byId(focused)?.focus({ preventScroll: true });
    const notices = byId("notices");
    if (notices?.childElementCount) byId("messages").hidden = false;
    window.patchyard.refresh();
  }

  // Rows of a run with many tasks are loaded when they are about to be seen, and all of them for a search or filter.
  let loading = 0;
  const missed = new Map(); // updates of rows that came while these were loaded, by id
  const seen = new IntersectionObserver((entries) => {
    for (const one of entries) if (one.isIntersecting) load(one.target.dataset.rows, [one.target]);
  }, { rootMargin: "50%" });
  async function load(address, places) {
    for (const one of places) seen.unobserve(one);
    if (!places.length) return;
    loading += 1;
    try {
      const answer = await fetch(address);
      if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
      const box = document.createElement("template");
      box.innerHTML = await answer.text();
      for (const one of box.content.querySelectorAll("template")) {
        for (const row of one.content.querySelectorAll("tr")) if (missed.has(row.id)) row.replaceWith(missed.get(row.id));
        byId(one.dataset.more)?.replaceWith(one.content);
      }
      window.patchyard.refresh();
    } catch (error) {
      showToast(error instanceof TypeError ? "The server does not respond." : error.message);
      for (const one of places) if (one.isConnected) setTimeout(() => seen.observe(one), 2000);
    } finally {
      loading -= 1;
      if (!loading) missed.clear();
    }
  }
  const unseen = () => [...document.querySelectorAll("#task-table .more")];
  const loadAll = () => load(`${byId("run")?.dataset.address}/rows`, unseen());
  document.addEventListener("input", (event) => { if (event.target.id === "search") loadAll(); });
  document.addEventListener("click", (event) => { if (event.target.closest?.("[data-filter]")?.dataset.filter) loadAll(); });
  for (const one of unseen()) seen.observe(one);

  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const kind = event.detail.type;
    if (kind === "update") {
      event.preventDefault();
      applyUpdate(event.detail.data);
    } else if (kind === "reload") {
      event.preventDefault();
      location.reload();
    }
  });
  document.addEventListener("htmx:sseOpen", () => {
    const lost = byId("lost");
    if (lost) lost.textContent = "";
  });
  document.addEventListener("htmx:sseError", () => {
    const lost = byId("lost");
    if (lost) lost.textContent = "Connection lost; reconnecting.";
  });

  // A log follows its end, unless the reader has scrolled up.
  let atEnd = true;
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (event.detail.type !== "log") return;
    const log = event.target;
    atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  });
  document.addEventListener("htmx:sseMessage", (event) => {
    if (event.detail.type === "log" && atEnd) event.target.scrollTop = event.target.scrollHeight;
  });

  // The panel of a task
  let opener = null;
  function markCurrent() {
    const current = location.pathname.match(/\/tasks\/([^/]+)$/)?.[1];
    for (const one of document.querySelectorAll("#lanes .bar")) {
      if (current && one.dataset.task === decodeURIComponent(current)) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
  }
  function close() {
    const panel = byId("panel");
    const run = byId("run");
    if (!panel || panel.hidden || !run) return;
    htmx.swap(panel, "", { swapStyle: "innerHTML", swapDelay: 0, settleDelay: 0 });
    panel.hidden = true;
    history.pushState({ htmx: true }, "", run.dataset.address);
    markCurrent();
    byId(opener)?.focus();
  }
  // One listener for all links to tasks: a page may have thousands.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-task], a[data-panel]");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (!link.closest("#panel")) opener = link.id;
    const address = link.href;
    htmx.ajax("GET", address, { target: "#panel", swap: "innerHTML" }).then(() => {
      if (address !== location.href) history.pushState({ htmx: true }, "", address);
      markCurrent();
    });
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id !== "panel") return;
    const panel = event.detail.target;
    const opened = panel.hidden;
    panel.hidden = false;
    panel.setAttribute("aria-labelledby", "panel-title");
    if (opened) panel.scrollTop = 0;
    if (opened || !panel.contains(document.activeElement)) panel.focus({ preventScroll: true });
    markCurrent();
    redraw();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#close") && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      close();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });

  // Errors
  let timer = 0;
  function showToast(text) {
    const toast = byId("toast");
    toast.textContent = text;
    clearTimeout(timer);
    timer = setTimeout(() => { toast.textContent = ""; }, 8000);
  }
  document.addEventListener("htmx:responseError", (event) => {
    let message = `The server answered ${event.detail.xhr.status}.`;
    try {
      message = JSON.parse(event.detail.xhr.responseText).detail || message;
    } catch {
      // not a problem document: show the status
    }
    showToast(message);
  });
  document.addEventListener("htmx:sendError", () => showToast("The server does not respond."));
  // The form of a new run: tick all tasks or none, and count them.
  function countTicks() {
    const count = byId("ticked-count");
    const boxes = [...document.querySelectorAll("#planned input[name='tasks']:enabled")];
    if (byId("ticking")) byId("ticking").hidden = boxes.length < 2;
    const ticked = boxes.filter((box) => box.checked).length;
    if (count) count.textContent = `${ticked} ${ticked === 1 ? "task" : "tasks"}`;
  }
  document.addEventListener("change", countTicks);
  document.addEventListener("click", (event) => {
    const how = event.target.closest?.("[data-tick]")?.dataset.tick;
    if (!how) return;
    for (const box of document.querySelectorAll("#planned input[name='tasks']:enabled")) box.checked = how === "all";
    countTicks();
  });
  document.addEventListener("htmx:afterSwap", countTicks);

  // Copy the text of an element; without the right to the clipboard, it is selected.
  document.addEventListener("click", async (event) => {
    const source = byId(event.target.closest?.("[data-copy]")?.dataset.copy || "");
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent);
      showToast("Copied.");
    } catch {
      getSelection().selectAllChildren(source);
      showToast("Selected; copy it with the keyboard.");
    }
  });

  // How long ago something was. Same words as on the server: pipeline/view/templating.py
  const AGES = [[31536000, "year"], [2592000, "month"], [86400, "day"], [3600, "hour"], [60, "minute"]];
  function showAges() {
    for (const one of document.querySelectorAll("time[data-ago]")) {
      const seconds = (Date.now() - new Date(one.dateTime).getTime()) / 1000;
      const [size, name] = AGES.find(([least]) => seconds >= least) || [0, ""];
      const count = Math.floor(seconds / size);
      const text = size ? `${count} ${name}${count === 1 ? "" : "s"} ago` : "just now";
      if (one.textContent !== text) one.textContent = text;
      one.title = new Date(one.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
    }
  }
  setInterval(showAges, 30000);
  document.addEventListener("htmx:afterSwap", showAges);

  countTicks();
  showAges();
  markCurrent();
})();
