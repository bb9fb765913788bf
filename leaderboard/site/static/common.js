// What all pages share: elements, figures, copying, dark and light, the list of tasks.
"use strict";
var moesuite = (() => {
  const tell = (text) => { document.getElementById("said").textContent = text; };

  // Make an element: attributes by name, functions as listeners, children as text or nodes. Never markup.
  function el(name, attributes = {}, ...children) {
    const svg = ["svg", "g", "path", "line", "rect", "circle", "text", "polyline", "image", "title", "polygon"].includes(name) || attributes.svg;
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(key, value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined && key !== "svg") made.setAttribute(key, value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  }

  // Four significant digits, as on the pages that are made without a script.
  function figure(value, digits = 4) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-4 || size >= 1e15) ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  }
  const signed = (value) => value === null || value === undefined ? "–" : (value < 0 ? "−" : "+") + figure(Math.abs(value), 3);
  const count = (value) => value === null ? "–" : value >= 1e9 ? figure(value / 1e9, 3) + " B" : value >= 1e6 ? figure(value / 1e6, 3) + " M" : value >= 1e3 ? figure(value / 1e3, 3) + " k" : String(value);
  const json = (id) => JSON.parse(document.getElementById(id).textContent);

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // pages that open from a file have no clipboard of their own in some browsers
      const area = el("textarea", { class: "hidden" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    tell(`${what} copied`);
  }

  function theme(chosen) {
    if (chosen) document.documentElement.dataset.theme = chosen;
  }
  const stored = { get() { try { return localStorage.getItem("theme"); } catch { return null; } }, set(value) { try { localStorage.setItem("theme", value); } catch { /* a private window */ } } };
  theme(stored.get());

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const dark = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
      const chosen = dark === "dark" ? "light" : "dark";
      theme(chosen);
      stored.set(chosen);
      tell(`${chosen} colours`);
    });
    for (const button of document.querySelectorAll("button.copy")) {
      button.addEventListener("click", () => copy(document.getElementById(button.dataset.copy).textContent, button.textContent));
    }
  });

  // The list of all tasks; another one keeps the view.
  function tasks(list) {
    const select = document.getElementById("tasks");
    for (const { slug, task } of list) {
      select.append(el("option", { value: slug, selected: location.pathname.endsWith(`/tasks/${slug}.html`) }, task));
    }
    document.getElementById("open").addEventListener("click", () => {
      if (select.value) location.href = `${select.dataset.root}tasks/${encodeURIComponent(select.value)}.html${location.hash}`;
    });
  }
  return { el, figure, signed, count, json, copy, tell, tasks };
})();
