// What all pages share: elements, numbers as text, copying, dark and light, the list of tasks.
"use strict";
var moesuite = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SVG_ELEMENTS = new Set([
    ...["svg", "g", "path", "line", "rect", "circle", "text"],
    ...["polyline", "image", "title", "polygon"],
  ]);

  // Announce something to screen readers.
  const tell = (text) => {
    document.getElementById("said").textContent = text;
  };

  // Make an element: attributes by name, functions as listeners, children as text or nodes.
  // Never markup: what a record holds stays text. `svg` makes an element that HTML has too.
  function el(name, { svg, ...attributes } = {}, ...children) {
    const element =
      svg || SVG_ELEMENTS.has(name)
        ? document.createElementNS(SVG, name)
        : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(key, value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) {
        element.setAttribute(key, value);
      }
    }
    const present = children.flat().filter((child) => child !== null && child !== undefined);
    element.append(...present);
    return element;
  }

  // A region that scrolls by itself where it is too wide, also by keyboard.
  const scrollable = (label, ...children) =>
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, children);

  const missing = (value) => value === null || value === undefined;

  // Significant digits, as on the pages that are made without a script.
  function figure(value, digits = 4) {
    if (missing(value)) return "–";
    const size = Math.abs(value);
    const exponential = size !== 0 && (size < 1e-4 || size >= 1e15);
    if (exponential) return value.toExponential(digits - 1);
    return String(Number(value.toPrecision(digits)));
  }
  function signed(value) {
    if (missing(value)) return "–";
    return (value < 0 ? "−" : "+") + figure(Math.abs(value), 3);
  }
  function count(value) {
    if (missing(value)) return "–";
    const size = [1e9, 1e6, 1e3].find((unit) => value >= unit);
    return size
      ? `${figure(value / size, 3)} ${{ 1e9: "B", 1e6: "M", 1e3: "k" }[size]}`
      : `${value}`;
  }

  // How the values of a column are written, by the names of `FORMATS` in site/render.py: the unit that
  // is shown, in units of the record, and the text.
  const scaled = (unit) => ({ unit, text: (value) => figure(value / unit) });
  const formats = {
    figure: { unit: 1, text: figure },
    ratio: { unit: 1, text: (value) => figure(value, 3) },
    gflop: scaled(1e9),
    share: { unit: 1, text: (value) => `${figure(100 * value, 3)} %` },
    count: { unit: 1, text: count },
    milliseconds: scaled(1e-3),
  };

  const json = (id) => JSON.parse(document.getElementById(id).textContent);

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyBySelection(text); // some browsers have no clipboard for pages opened from a file
    }
    tell(`${what} copied`);
  }
  function copyBySelection(text) {
    const area = el("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  // The colours that the reader chose, if the browser lets pages remember anything.
  const stored = {
    get() {
      try {
        return localStorage.getItem("theme");
      } catch {
        return null;
      }
    },
    set(value) {
      try {
        localStorage.setItem("theme", value);
      } catch {
        /* a private window */
      }
    },
  };
  function theme(name) {
    if (name) document.documentElement.dataset.theme = name;
  }
  function toggleTheme() {
    const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const current = document.documentElement.dataset.theme || preferred;
    const next = current === "dark" ? "light" : "dark";
    theme(next);
    stored.set(next);
    tell(`${next} colours`);
  }
  theme(stored.get()); // before anything is drawn

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", toggleTheme);
    for (const button of document.querySelectorAll("button.copy")) {
      const text = () => document.getElementById(button.dataset.copy).textContent;
      button.addEventListener("click", () => copy(text(), button.textContent));
    }
  });

  // Fill the list of all tasks; opening another task keeps the view.
  function tasks(list) {
    const select = document.getElementById("tasks");
    for (const { slug, task } of list) {
      const selected = location.pathname.endsWith(`/tasks/${slug}.html`);
      select.append(el("option", { value: slug, selected }, task));
    }
    document.getElementById("open").addEventListener("click", () => {
      if (!select.value) return;
      const page = `tasks/${encodeURIComponent(select.value)}.html`;
      location.href = select.dataset.root + page + location.hash;
    });
  }
  return { el, scrollable, missing, figure, signed, count, formats, json, copy, tell, tasks };
})();
