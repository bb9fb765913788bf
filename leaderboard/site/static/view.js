// What the reader sees of a benchmark: filters, order, columns, selection. All of it stands in the
// address, so that a link restores it.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { board, rows, missing } = moesuite;
    const FACETS = { setting: "Setting", backbone: "Backbone", size: "Size", router: "Router" };

    // Machines, the one with the most contestants first.
    function machinesByUse() {
      const counts = new Map();
      for (const name of rows.flatMap((row) => Object.keys(row.timings))) {
        counts.set(name, (counts.get(name) || 0) + 1);
      }
      const order = (a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1);
      return [...counts].sort(order).map(([name]) => name);
    }

    const machines = machinesByUse();
    const defaults = { machine: machines[0] || "", x: "executed", cx: "step" };
    const state = {
      ...defaults,
      sort: [], // [name of a column, 1 or -1], the first one first
      q: "",
      facets: Object.fromEntries(Object.keys(FACETS).map((name) => [name, []])),
      only: false, // hide rows that did not run on the machine
      columns: [],
      selected: [],
      target: "",
      all: false,
    };
    const columns = moesuite.columns(board, state);
    const names = columns.map((column) => column.name);
    const shownByDefault = columns.filter((column) => column.shown).map((column) => column.name);
    state.columns = shownByDefault;
    const columnOf = (name) => columns.find((column) => column.name === name);

    // The name of a column in an address, which may be of an earlier version.
    function current(name, among = columns) {
      const known = among.find((column) => column.name === name);
      return (known ?? among.find((column) => name && column.former === name))?.name;
    }

    function restore() {
      const address = new URLSearchParams(location.hash.slice(1));
      const text = (key) => address.get(key) || "";
      const list = (key) => text(key).split("~").filter(Boolean);
      state.sort = list("sort")
        .map((word) => [current(word.slice(0, -1)), word.endsWith("-") ? -1 : 1])
        .filter(([name]) => name);
      state.q = text("q");
      for (const name of Object.keys(FACETS)) {
        const known = new Set(rows.map((row) => row[name]));
        state.facets[name] = list(name).filter((value) => known.has(value));
      }
      state.machine = machines.includes(text("machine")) ? text("machine") : defaults.machine;
      const chosen = list("columns").map((name) => current(name));
      state.columns = address.has("columns")
        ? names.filter((n) => chosen.includes(n))
        : shownByDefault;
      state.selected = list("select").filter((key) => rows.some((row) => row.key === key));
      const axes = board.headers.filter((header) => header.axis);
      state.x = current(text("x"), axes) || text("x") || defaults.x;
      state.cx = text("cx") || defaults.cx;
      state.target = text("target");
      state.only = text("only") === "1";
      state.all = text("all") === "1";
    }

    function remember() {
      const address = new URLSearchParams();
      const put = (key, value, usual = "") => {
        if (value !== usual && value !== "") address.set(key, value);
      };
      put("sort", state.sort.map(([name, way]) => name + (way < 0 ? "-" : "+")).join("~"));
      put("q", state.q);
      for (const name of Object.keys(FACETS)) put(name, state.facets[name].join("~"));
      put("machine", state.machine, defaults.machine);
      put("only", state.only ? "1" : "");
      put("columns", state.columns.join("~"), shownByDefault.join("~"));
      put("select", state.selected.join("~"));
      put("x", state.x, defaults.x);
      put("cx", state.cx, defaults.cx);
      put("target", state.target);
      put("all", state.all ? "1" : "");
      const here = location.pathname + location.search;
      history.replaceState(null, "", address.size ? `#${address}` : here);
    }

    function isVisible(row, words) {
      if (state.only && !row.timings[state.machine]) return false;
      if (!words.every((word) => row.words.includes(word))) return false;
      return Object.entries(state.facets).every(
        ([name, chosen]) => !chosen.length || chosen.includes(row[name]),
      );
    }

    const empty = (value) => missing(value) || value === "";
    // What is missing comes last, whichever way the column is sorted.
    function compareBy(column, way, a, b) {
      const [left, right] = [column.value(a), column.value(b)];
      if (empty(left) || empty(right)) return Number(empty(left)) - Number(empty(right));
      if (left === right) return 0;
      return left < right ? -way : way;
    }

    // The rows that pass the filters, in order. Controls and other settings never head the table.
    function visible() {
      const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
      const by = state.sort.map(([name, way]) => [columnOf(name), way]);
      return rows
        .filter((row) => isVisible(row, words))
        .sort((a, b) => {
          if (a.place !== b.place) return a.place - b.place;
          for (const [column, way] of by) {
            const order = compareBy(column, way, a, b);
            if (order) return order;
          }
          return a.index - b.index;
        });
    }
    const shownColumns = () => columns.filter((column) => state.columns.includes(column.name));

    const view = { FACETS, machines, columns, columnOf, shownColumns, restore };
    return { state, view, visible, remember };
  })(),
);
