// Animation, keyboard navigation, zoom and filters of a run's timeline; shared by the live page and the report.
"use strict";
(() => {
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const MOST_TICKS = 8;
  const MANY = 150; // with more bars, the timeline is redrawn twice a second instead of with every frame
  const two = (value) => String(value).padStart(2, "0");
  const byId = (id) => document.getElementById(id);

  // Same format as on the server: pipeline/view/templating.py
  function duration(seconds) {
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
    return `${Math.floor(whole / 86400)} d ${two(Math.floor((whole % 86400) / 3600))} h`;
  }
  function tick(seconds) {
    if (seconds < 60) return seconds ? `${seconds} s` : "0";
    const rest = two(seconds % 60);
    if (seconds < 3600) return `${Math.floor(seconds / 60)}:${rest}`;
    return `${Math.floor(seconds / 3600)}:${two(Math.floor((seconds % 3600) / 60))}:${rest}`;
  }

  // The clock: the server sends the run's time; the browser counts on from there.
  let source = null;
  let base = 0;
  let receivedAt = 0;
  function now() {
    const clock = byId("clock");
    if (!clock) return null;
    if (clock !== source) {
      source = clock;
      base = Number(clock.dataset.now);
      receivedAt = performance.now();
    }
    return clock.dataset.live === "true" ? base + (performance.now() - receivedAt) / 1000 : base;
  }

  function drawTicks(span) {
    const step = STEPS.find((one) => span / one <= MOST_TICKS) || 86400 * Math.ceil(span / 86400 / MOST_TICKS);
    const ticks = byId("ticks");
    const count = Math.floor(span / step) + 1;
    if (ticks.dataset.step === String(step) && ticks.childElementCount === count) return;
    ticks.dataset.step = String(step);
    ticks.replaceChildren(...Array.from({ length: count }, (_, at) => {
      const one = document.createElement("span");
      one.style.setProperty("--t", String(at * step));
      one.textContent = tick(at * step);
      return one;
    }));
  }

  // With many bars, only running bars are updated, and the scale grows in steps: restyling all is too slow.
  function stretch(picture, moment) {
    const live = byId("clock").dataset.live === "true";
    const dense = live && picture.classList.contains("dense");
    const before = Number(picture.style.getPropertyValue("--span"));
    if (!dense || moment > before) {
      const span = Math.max(1, dense ? moment * 1.05 : moment);
      picture.style.setProperty("--now", moment.toFixed(3));
      picture.style.setProperty("--span", span.toFixed(3));
      drawTicks(span);
    }
    if (!dense) return;
    for (const one of document.querySelectorAll("#bands, #lanes .bar[data-state='running']")) {
      one.style.setProperty("--now", moment.toFixed(3));
    }
  }

  // Running tasks add to the busy time between events.
  function updateFigures(moment) {
    const shown = byId("figures");
    if (!shown?.dataset.places || moment <= 0) return;
    const { busy, at, running, places } = shown.dataset;
    const speedup = (Number(busy) + Number(running) * Math.max(0, moment - Number(at))) / moment;
    for (const one of shown.querySelectorAll("[data-speedup]")) one.textContent = speedup.toFixed(1);
    const share = Math.min(1, speedup / Number(places));
    for (const one of shown.querySelectorAll("[data-pool]")) one.textContent = (share * 100).toFixed(0);
  }

  function draw() {
    const picture = byId("timeline");
    const moment = now();
    if (!picture || moment === null) return;
    stretch(picture, moment);
    for (const one of document.querySelectorAll("[data-since]")) {
      one.textContent = duration(Math.max(0, moment - Number(one.dataset.since)));
    }
    for (const one of document.querySelectorAll("[data-elapsed]")) one.textContent = duration(moment);
    updateFigures(moment);
    if (linked) drawLinks();
  }

  // Which tasks a task waits for, and which wait for it: lines between the bars while one is hovered or focused.
  const MOST_LINKS = 60;
  const SVG = "http://www.w3.org/2000/svg";
  let linked = null;
  const names = (text) => (text ? text.split(" ") : []);
  const lastBars = () => new Map([...document.querySelectorAll("#lanes .bar")].map((one) => [one.dataset.task, one]));
  const batchesOf = (bar) => names(byId(`stage-${bar.dataset.stage}`)?.dataset.after);
  const waitsFor = (one, other) => // a task of the same batch that it names waits for the other batches itself
    one.dataset.after ? names(one.dataset.after).includes(other.dataset.task) : batchesOf(one).includes(other.dataset.stage);
  function drawLinks() {
    const track = document.querySelector(".track");
    document.querySelector(".links")?.remove();
    for (const one of document.querySelectorAll(".bar[data-linked]")) delete one.dataset.linked;
    const bar = linked && byId(linked);
    if (!bar || !track) return;
    const all = [...lastBars().values()].filter((one) => one.dataset.task !== bar.dataset.task);
    const pairs = [
      ...all.filter((one) => waitsFor(bar, one)).map((one) => [one, bar]),
      ...all.filter((one) => waitsFor(one, bar)).map((one) => [bar, one]),
    ].slice(0, MOST_LINKS);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "links");
    svg.setAttribute("aria-hidden", "true");
    const { left, top } = track.getBoundingClientRect();
    for (const [from, to] of pairs) {
      const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
      const [x1, y1] = [a.right - left, (a.top + a.bottom) / 2 - top];
      const [x2, y2] = [b.left - left, (b.top + b.bottom) / 2 - top];
      const bend = Math.max(12, Math.abs(x2 - x1) / 2);
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
      const dot = document.createElementNS(SVG, "circle");
      for (const [name, value] of [["cx", x2], ["cy", y2], ["r", 3]]) dot.setAttribute(name, String(value));
      svg.append(path, dot);
      (from === bar ? to : from).dataset.linked = "true";
    }
    if (pairs.length) track.append(svg);
  }
  function link(bar) {
    if ((bar?.id || null) === linked) return;
    linked = bar?.id || null;
    drawLinks();
  }
  for (const name of ["mouseover", "focusin"]) {
    document.addEventListener(name, (event) => {
      const bar = event.target.closest?.("#lanes .bar");
      if (bar) link(bar);
      else if (name === "focusin" || !document.activeElement?.matches(".bar")) link(null);
      else link(document.activeElement);
    });
  }

  let last = 0;
  const pause = () => (document.getElementsByClassName("bar").length > MANY ? 500 : 40);
  function frame(time) {
    if (byId("clock")?.dataset.live === "true" && time - last >= pause()) {
      last = time;
      draw();
    }
    requestAnimationFrame(frame);
  }
  // After an update; with many bars, drawing waits for the next due frame, unless the run has ended.
  function refresh() {
    localizeTimes(document);
    ensureTabStop();
    applyFilter();
    applyFolds();
    search();
    const live = byId("clock")?.dataset.live === "true";
    if (!live || performance.now() - last >= pause()) draw();
  }

  // Keyboard: one tab stop for the whole timeline; arrow keys move from bar to bar.
  const bars = () => [...document.querySelectorAll("#lanes .bar")];
  function ensureTabStop() {
    if (document.querySelector("#lanes .bar[tabindex='0']")) return;
    const first = document.querySelector("#lanes .bar");
    if (first) first.tabIndex = 0;
  }
  document.addEventListener("mouseover", (event) => {
    const bar = event.target.closest?.(".bar");
    if (bar && !bar.title) bar.title = bar.getAttribute("aria-label");
  });
  function focusBar(to) {
    if (!to) return;
    for (const one of document.querySelectorAll("#lanes .bar[tabindex='0']")) one.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
    to.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const start = (one) => Number(one.style.getPropertyValue("--s"));
  function nearestInLane(bar, by) {
    const lanes = [...document.querySelectorAll("#lanes .lane")];
    for (let at = lanes.indexOf(bar.parentElement) + by; at >= 0 && at < lanes.length; at += by) {
      const found = [...lanes[at].querySelectorAll(".bar")];
      if (found.length) {
        return found.reduce((best, one) => (Math.abs(start(one) - start(bar)) < Math.abs(start(best) - start(bar)) ? one : best));
      }
    }
    return null;
  }
  document.addEventListener("keydown", (event) => {
    const bar = event.target.closest?.("#lanes .bar");
    if (!bar || event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = {
      ArrowRight: () => bar.nextElementSibling,
      ArrowLeft: () => bar.previousElementSibling,
      ArrowDown: () => nearestInLane(bar, 1),
      ArrowUp: () => nearestInLane(bar, -1),
      Home: () => bars()[0],
      End: () => bars().at(-1),
    };
    if (event.key in moves) {
      event.preventDefault();
      focusBar(moves[event.key]());
    }
  });

  // Zoom and filters
  function zoom(how) {
    const track = document.querySelector(".track");
    const box = document.querySelector(".scroll");
    const before = Number(track.style.getPropertyValue("--zoom")) || 1;
    const after = how === "fit" ? 1 : Math.min(64, Math.max(1, before * (how === "in" ? 2 : 0.5)));
    const middle = (box.scrollLeft + box.clientWidth / 2) / before;
    track.style.setProperty("--zoom", String(after));
    box.scrollLeft = middle * after - box.clientWidth / 2;
  }
  let shown = "";
  function applyFilter() {
    const table = byId("task-table");
    if (!table) return;
    table.dataset.show = shown;
    for (const one of document.querySelectorAll("[data-filter]")) {
      one.setAttribute("aria-pressed", String(one.dataset.filter === shown));
    }
  }
  // Batches are folded by their heading; a search looks into folded ones too.
  function applyFolds() {
    for (const one of document.querySelectorAll(".fold")) {
      one.setAttribute("aria-expanded", String(!one.closest("tbody").classList.contains("folded")));
    }
  }
  let sought = "";
  function search() {
    const table = byId("task-table");
    if (!table || (!sought && !("seeking" in table.dataset))) return;
    const words = sought.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const body of table.tBodies) {
      let found = 0;
      for (const row of body.rows) {
        if (!row.dataset.state) continue;
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word));
        row.toggleAttribute("data-out", !fits);
        found += fits;
      }
      body.toggleAttribute("data-out", !found);
      count += found;
    }
    table.toggleAttribute("data-seeking", words.length > 0);
    byId("found").textContent = words.length ? `${count} found` : "";
  }
  document.addEventListener("input", (event) => {
    if (event.target.id !== "search") return;
    sought = event.target.value;
    search();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (button?.matches(".fold")) {
      button.closest("tbody").classList.toggle("folded");
      applyFolds();
    }
    if (button?.dataset.zoom) zoom(button.dataset.zoom);
    if (button?.dataset.filter !== undefined) {
      shown = button.dataset.filter;
      applyFilter();
    }
  });

  // Times in the reader's time zone
  function localizeTimes(root) {
    for (const one of root.querySelectorAll("time[datetime]:not([title])")) {
      const moment = new Date(one.dateTime);
      if (!Number.isNaN(moment.getTime())) {
        one.title = one.title || one.textContent;
        one.textContent = moment.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
      }
    }
  }

  function redraw() {
    localizeTimes(document);
    ensureTabStop();
    applyFilter();
    draw();
  }
  window.patchyard = { redraw, refresh };
  document.body.classList.add("scripted");
  redraw();
  requestAnimationFrame(frame);
})();
