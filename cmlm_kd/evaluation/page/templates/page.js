"use strict";

const byId = (id) => document.getElementById(id);

/* An element with properties and children; text never becomes HTML. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function percent(share) {
  return share === 0 ? "0 %" : share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

/* A bar whose filled part is a share in [0, 1]. */
function bar(share, colour) {
  const fill = make("span", { className: "fill" });
  fill.style.width = `${100 * share}%`;
  return make("span", { className: `track ${colour}` }, fill);
}

/* The colours: as the system has them, light, dark, and so on. */
function startScheme() {
  const button = byId("scheme");
  const names = { "": "as the system", light: "light", dark: "dark" };
  const order = Object.keys(names);
  let chosen = "";
  try {
    chosen = localStorage.getItem("cmlm-kd-scheme") ?? "";
  } catch {
    /* A browser may keep nothing for a page from a file. */
  }
  function show(scheme) {
    chosen = scheme in names ? scheme : "";
    document.documentElement.dataset.scheme = chosen;
    button.textContent = `Colours: ${names[chosen]}`;
    try {
      localStorage.setItem("cmlm-kd-scheme", chosen);
    } catch {
      /* As above. */
    }
  }
  button.hidden = false;
  button.addEventListener("click", () => show(order[(order.indexOf(chosen) + 1) % order.length]));
  show(chosen);
}

/* The value of the point nearest to the pointer, or of the one that arrow keys have reached. */
function startChart(figure) {
  const area = figure.querySelector(".area");
  const readout = figure.querySelector(".readout");
  const visible = () =>
    [...area.querySelectorAll("circle[data-text]")].filter((point) => !point.closest(".series.off"));
  let picked = null;
  function pick(point) {
    picked?.classList.remove("picked");
    picked = point;
    picked?.classList.add("picked");
    readout.textContent = point ? point.dataset.text : "\u00a0";
  }
  function nearest(event) {
    let best = null;
    let least = Infinity;
    for (const point of visible()) {
      const box = point.getBoundingClientRect();
      const x = box.x + box.width / 2 - event.clientX;
      const y = box.y + box.height / 2 - event.clientY;
      if (x * x + y * y < least) [best, least] = [point, x * x + y * y];
    }
    pick(best);
  }
  area.addEventListener("pointermove", nearest);
  area.addEventListener("pointerdown", nearest);
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const points = visible();
    if (step === undefined || event.target !== figure || !points.length) return;
    event.preventDefault();
    const place = points.indexOf(picked);
    pick(points[place < 0 ? 0 : (place + step + points.length) % points.length]);
  });
}

function startLegend() {
  for (const button of document.querySelectorAll(".toggle")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const series of document.querySelectorAll(`.series[data-student="${button.dataset.student}"]`)) {
        series.classList.toggle("off", !on);
      }
    });
  }
}

startScheme();
document.querySelectorAll(".chart").forEach(startChart);
startLegend();
