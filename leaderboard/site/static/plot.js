// Scatter and line plots as SVG.
"use strict";
Object.assign(moesuite, (() => {
  const { el, figure } = moesuite;
  let WIDTH = 860, HEIGHT = 420;
  const LEFT = 68, RIGHT = 16, TOP = 14, BOTTOM = 46;
  const COLOURS = ["#3b82d6", "#d97706", "#2f9e5c", "#c2417c", "#7c5cd6", "#0f9aa8", "#b5523b", "#7a8a1f", "#5f6f85", "#a855c7"];
  const dash = (kind) => ["", "7 4", "2 3"][Math.floor(kind / COLOURS.length) % 3];
  const colour = (index) => COLOURS[index % COLOURS.length];

  // Which points lie on the front: no other is as cheap and as good, and better in one of both. Costs and qualities as in moesuite.significance.
  function front(points, max) {
    const sign = max ? 1 : -1;
    const order = points.map((p, i) => [p.x, -sign * p.y, i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const on = points.map(() => false);
    let best = Infinity, last = null;
    for (const [x, y, i] of order) {
      if (y < best || (last && last[0] === x && last[1] === y)) { on[i] = true; last = [x, y]; best = Math.min(best, y); }
    }
    return on;
  }

  function scale(values, from, to, log) {
    let low = Math.min(...values), high = Math.max(...values);
    if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {  // apart by rounding only
      const room = Math.abs(low) * 0.05 || 1; low = log ? low / 1.1 : low < 0 ? low - room : Math.max(0, low - room); high += room; }
    const f = log ? Math.log10 : (v) => v;
    const margin = (f(high) - f(low)) * 0.04, a = f(low) - margin, b = f(high) + margin;
    const place = (value) => from + (f(value) - a) / (b - a) * (to - from);
    place.ticks = ticks(a, b, log);
    return place;
  }

  function ticks(a, b, log) {
    if (log) {
      const found = [];
      for (let power = Math.floor(a); power <= Math.ceil(b); power++) for (const m of b - a > 3 ? [1] : [1, 2, 5]) {
        const at = Math.log10(m) + power;
        if (at >= a && at <= b) found.push(m * 10 ** power);
      }
      return found;
    }
    const raw = (b - a) / 6, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const found = [];
    const first = Math.ceil(a / step);
    for (let i = 0; i <= Math.floor((b - a) / step) && (first + i) * step <= b; i++) found.push(Number(((first + i) * step).toPrecision(12)));
    return found;
  }

  function frame(xs, ys, xLabel, yLabel, log, label) {
    const x = scale(xs, LEFT, WIDTH - RIGHT, log), y = scale(ys, HEIGHT - BOTTOM, TOP, false);
    const svg = el("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "group", "aria-label": label });
    for (const tick of y.ticks) svg.append(el("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }), el("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, figure(tick)));
    for (const tick of x.ticks) svg.append(el("line", { class: "grid", x1: x(tick), x2: x(tick), y1: TOP, y2: HEIGHT - BOTTOM }), el("text", { x: x(tick), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, figure(tick)));
    svg.append(el("line", { class: "axis", x1: LEFT, x2: LEFT, y1: TOP, y2: HEIGHT - BOTTOM }), el("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
    svg.append(el("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, xLabel), el("text", { x: 14, y: HEIGHT / 2, transform: `rotate(-90 14 ${HEIGHT / 2})`, "text-anchor": "middle" }, yLabel));
    return { svg, x, y };
  }

  const SHAPES = [
    (x, y) => el("circle", { cx: x, cy: y, r: 6 }),
    (x, y) => el("rect", { x: x - 5, y: y - 5, width: 10, height: 10 }),
    (x, y) => el("polygon", { points: `${x},${y - 7} ${x + 6},${y + 5} ${x - 6},${y + 5}` }),
    (x, y) => el("polygon", { points: `${x},${y - 7} ${x + 7},${y} ${x},${y + 7} ${x - 7},${y}` }),
  ];
  function mark(kind, x, y) {
    const made = SHAPES[Math.floor(kind / COLOURS.length) % SHAPES.length](x, y);
    made.setAttribute("class", "mark");
    made.setAttribute("fill", colour(kind));
    return made;
  }

  // points: {x, y, half, kind, name, href, key}; the front is drawn, and only its points are stops of the Tab key.
  function scatter(points, { max, xLabel, yLabel, over, label, fronts = [() => true] }) {
    [WIDTH, HEIGHT] = [860, 420];
    const xs = points.map((p) => p.x), spread = points.flatMap((p) => [p.y - (p.half || 0), p.y + (p.half || 0)]);
    const { svg, x, y } = frame(xs, spread, xLabel, yLabel, Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 20, label);
    const joined = new Set();
    for (const among of fronts) {  // points of different settings are not compared
      const own = points.filter(among), best = front(own, max), chosen = own.filter((_, i) => best[i]);
      for (const p of chosen) joined.add(p);
      svg.append(el("polyline", { class: "front", points: chosen.sort((a, b) => a.x - b.x).map((p) => `${x(p.x)},${y(p.y)}`).join(" ") }));
    }
    const on = points.map((p) => joined.has(p));
    points.forEach((p, i) => {
      const said = `${p.name}: ${yLabel} ${figure(p.y)}${p.half ? " ± " + figure(p.half) : ""}, ${xLabel} ${figure(p.x)}${on[i] ? ", on the front" : ""}`;
      const link = el("a", { svg: true, href: p.href, "aria-label": said, "data-key": p.key, "data-front": on[i] ? "1" : "0", tabindex: on[i] ? 0 : -1, mouseenter: () => over(p, said), focus: () => over(p, said), mouseleave: () => over(null), blur: () => over(null) });
      if (p.half) link.append(el("line", { x1: x(p.x), x2: x(p.x), y1: y(p.y - p.half), y2: y(p.y + p.half), stroke: colour(p.kind), "stroke-width": 1.5 }));
      link.append(mark(p.kind, x(p.x), y(p.y)));
      svg.append(link);
    });
    return svg;
  }

  // series: {name, kind, points: [[x, y], …]}
  function lines(series, { xLabel, yLabel, label, small }) {
    [WIDTH, HEIGHT] = small ? [520, 240] : [860, 420];
    const all = series.flatMap((s) => s.points);
    const { svg, x, y } = frame(all.map((p) => p[0]), all.map((p) => p[1]), xLabel, yLabel, false, label);
    svg.setAttribute("role", "img");
    for (const s of series) svg.append(el("polyline", { points: s.points.map((p) => `${x(p[0])},${y(p[1])}`).join(" "), fill: "none", stroke: colour(s.kind), "stroke-width": 2, "stroke-dasharray": dash(s.kind) }, el("title", {}, s.name)));
    return svg;
  }

  // Marks of a scatter plot, or dashes of lines, with their names.
  const legend = (series, marks) => el("ul", { class: "legend" }, series.map((s) => el("li", {}, el("svg", { width: 30, height: 16, viewBox: "0 0 30 16", role: "presentation" }, marks ? mark(s.kind, 15, 8) : el("line", { x1: 0, x2: 30, y1: 8, y2: 8, stroke: colour(s.kind), "stroke-width": 3, "stroke-dasharray": dash(s.kind) })), " " + s.name)));
  return { front, scatter, lines, legend, colour };
})());
