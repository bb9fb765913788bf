// Scatter and line plots as SVG.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { el, figure } = moesuite;
    const LARGE = { width: 860, height: 420 };
    const SMALL = { width: 520, height: 240 };
    const LEFT = 68; // margins around the axes, for their labels
    const RIGHT = 16;
    const TOP = 14;
    const BOTTOM = 46;
    const LOG_FROM = 20; // largest over smallest value from which on an axis is logarithmic
    const COLOURS = [
      ...["#3b82d6", "#d97706", "#2f9e5c", "#c2417c", "#7c5cd6"],
      ...["#0f9aa8", "#b5523b", "#7a8a1f", "#5f6f85", "#a855c7"],
    ];
    const DASHES = ["", "7 4", "2 3"];
    const colour = (kind) => COLOURS[kind % COLOURS.length];
    const dash = (kind) => DASHES[Math.floor(kind / COLOURS.length) % DASHES.length];

    // Which points lie on the Pareto front: no other is as cheap and as good, and better in one of
    // both. The same rule as in moesuite.statistics.significance.
    function front(points, max) {
      const sign = max ? -1 : 1;
      const order = points
        .map((point, index) => ({ x: point.x, y: sign * point.y, index }))
        .sort((a, b) => a.x - b.x || a.y - b.y);
      const isOn = points.map(() => false);
      let last = null; // point of the front
      for (const point of order) {
        const same = last && last.x === point.x && last.y === point.y;
        if (last && !same && point.y >= last.y) continue;
        isOn[point.index] = true;
        last = point;
      }
      return isOn;
    }

    // The ends of an axis; values that differ by rounding only get some room.
    function ends(values, log) {
      const low = Math.min(...values);
      const high = Math.max(...values);
      if (high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high))) return [low, high];
      const room = Math.abs(low) * 0.05 || 1;
      if (log) return [low / 1.1, high + room];
      return [low < 0 ? low - room : Math.max(0, low - room), high + room];
    }
    // A function from values to places between two coordinates, with its ticks.
    function scale(values, from, to, log) {
      const transform = log ? Math.log10 : (value) => value;
      const [low, high] = ends(values, log).map(transform);
      const margin = (high - low) * 0.04;
      const [first, last] = [low - margin, high + margin];
      const place = (value) => from + ((transform(value) - first) / (last - first)) * (to - from);
      place.ticks = log ? logTicks(first, last) : ticks(first, last);
      return place;
    }
    // Powers of ten, and twice and five times these where there is room.
    function logTicks(first, last) {
      const multiples = last - first > 3 ? [1] : [1, 2, 5];
      const values = [];
      for (let power = Math.floor(first); power <= Math.ceil(last); power++) {
        for (const multiple of multiples) {
          const at = Math.log10(multiple) + power;
          if (at >= first && at <= last) values.push(multiple * 10 ** power);
        }
      }
      return values;
    }
    // About six round numbers.
    function ticks(first, last) {
      const raw = (last - first) / 6;
      const power = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= raw);
      const begin = Math.ceil(first / step);
      const values = [];
      // counted, for adding a step that is below the rounding of the values would never end
      for (let i = 0; i <= Math.floor((last - first) / step) && (begin + i) * step <= last; i++) {
        values.push(Number(((begin + i) * step).toPrecision(12)));
      }
      return values;
    }

    function axes({ width, height }, x, y, xLabel, yLabel) {
      const right = width - RIGHT;
      const bottom = height - BOTTOM;
      const across = (y, kind) => el("line", { class: kind, x1: LEFT, x2: right, y1: y, y2: y });
      const along = (x, kind) => el("line", { class: kind, x1: x, x2: x, y1: TOP, y2: bottom });
      const text = (x, y, anchor, words, more = {}) =>
        el("text", { x, y, "text-anchor": anchor, ...more }, words);
      const turned = { transform: `rotate(-90 14 ${height / 2})` };
      return [
        y.ticks.map((tick) => [
          across(y(tick), "grid"),
          text(LEFT - 6, y(tick) + 4, "end", figure(tick)),
        ]),
        x.ticks.map((tick) => [
          along(x(tick), "grid"),
          text(x(tick), bottom + 16, "middle", figure(tick)),
        ]),
        along(LEFT, "axis"),
        across(bottom, "axis"),
        text((LEFT + width) / 2, height - 8, "middle", xLabel),
        text(14, height / 2, "middle", yLabel, turned),
      ].flat(2);
    }
    function frame(size, { xs, ys, xLabel, yLabel, log, label, role }) {
      const { width, height } = size;
      const x = scale(xs, LEFT, width - RIGHT, log);
      const y = scale(ys, height - BOTTOM, TOP, false);
      const viewBox = `0 0 ${width} ${height}`;
      const attributes = { viewBox, width, height, role, "aria-label": label };
      const svg = el("svg", attributes, axes(size, x, y, xLabel, yLabel));
      return { svg, x, y };
    }

    const SHAPES = [
      (x, y) => el("circle", { cx: x, cy: y, r: 6 }),
      (x, y) => el("rect", { x: x - 5, y: y - 5, width: 10, height: 10 }),
      (x, y) => el("polygon", { points: `${x},${y - 7} ${x + 6},${y + 5} ${x - 6},${y + 5}` }),
      (x, y) =>
        el("polygon", { points: `${x},${y - 7} ${x + 7},${y} ${x},${y + 7} ${x - 7},${y}` }),
    ];
    function mark(kind, x, y) {
      const shape = SHAPES[Math.floor(kind / COLOURS.length) % SHAPES.length](x, y);
      shape.setAttribute("class", "mark");
      shape.setAttribute("fill", colour(kind));
      return shape;
    }

    const isPositive = (values) => Math.min(...values) > 0;
    const range = (values) => Math.max(...values) / Math.min(...values);

    // Points {x, y, half, kind, name, href, key} as links. The front of each group that `fronts`
    // selects is drawn, and only its points are stops of the Tab key.
    function scatter(points, { max, xLabel, yLabel, over, label, fronts = [() => true] }) {
      const xs = points.map((point) => point.x);
      const ys = points.flatMap((point) => [
        point.y - (point.half || 0),
        point.y + (point.half || 0),
      ]);
      const log = isPositive(xs) && range(xs) > LOG_FROM;
      const about = { xs, ys, xLabel, yLabel, log, label, role: "group" };
      const { svg, x, y } = frame(LARGE, about);
      const onFront = new Set();
      for (const belongs of fronts) {
        const group = points.filter(belongs);
        const isOn = front(group, max);
        const best = group.filter((_, index) => isOn[index]).sort((a, b) => a.x - b.x);
        for (const point of best) onFront.add(point);
        const path = best.map((point) => `${x(point.x)},${y(point.y)}`).join(" ");
        svg.append(el("polyline", { class: "front", points: path }));
      }
      for (const point of points) {
        svg.append(linkOf(point, { x, y, xLabel, yLabel, over, isOn: onFront.has(point) }));
      }
      return svg;
    }
    function linkOf(point, { x, y, xLabel, yLabel, over, isOn }) {
      const half = point.half ? ` ± ${figure(point.half)}` : "";
      const quality = `${yLabel} ${figure(point.y)}${half}`;
      const place = isOn ? ", on the front" : "";
      const said = `${point.name}: ${quality}, ${xLabel} ${figure(point.x)}${place}`;
      const enter = () => over(point, said);
      const leave = () => over(null);
      const listeners = { mouseenter: enter, focus: enter, mouseleave: leave, blur: leave };
      const link = el("a", {
        svg: true,
        href: point.href,
        "aria-label": said,
        "data-key": point.key,
        "data-front": isOn ? "1" : "0",
        tabindex: isOn ? 0 : -1,
        ...listeners,
      });
      if (point.half) {
        const ends = { y1: y(point.y - point.half), y2: y(point.y + point.half) };
        const style = { stroke: colour(point.kind), "stroke-width": 1.5 };
        link.append(el("line", { x1: x(point.x), x2: x(point.x), ...ends, ...style }));
      }
      link.append(mark(point.kind, x(point.x), y(point.y)));
      return link;
    }

    const stroke = (kind, width) => ({
      stroke: colour(kind),
      "stroke-width": width,
      "stroke-dasharray": dash(kind),
    });

    // Series {name, kind, points: [[x, y], …]} as lines.
    function lines(series, { xLabel, yLabel, label, small }) {
      const points = series.flatMap((line) => line.points);
      const xs = points.map((point) => point[0]);
      const ys = points.map((point) => point[1]);
      const about = { xs, ys, xLabel, yLabel, log: false, label, role: "img" };
      const { svg, x, y } = frame(small ? SMALL : LARGE, about);
      for (const { name, kind, points } of series) {
        const path = points.map((point) => `${x(point[0])},${y(point[1])}`).join(" ");
        const style = { fill: "none", ...stroke(kind, 2) };
        svg.append(el("polyline", { points: path, ...style }, el("title", {}, name)));
      }
      return svg;
    }

    // Marks of a scatter plot, or dashes of lines, with their names.
    function legend(series, isScatter = false) {
      const box = { width: 30, height: 16, viewBox: "0 0 30 16", role: "presentation" };
      const line = (kind) => el("line", { x1: 0, x2: 30, y1: 8, y2: 8, ...stroke(kind, 3) });
      const items = series.map(({ name, kind }) => {
        const sample = isScatter ? mark(kind, 15, 8) : line(kind);
        return el("li", {}, el("svg", box, sample), ` ${name}`);
      });
      return el("ul", { class: "legend" }, items);
    }
    return { front, scatter, lines, legend, colour };
  })(),
);
