// What a router looked at: patches of images and tokens of texts by expert, and the slots of soft routing.
"use strict";
Object.assign(moesuite, (() => {
  const { el, colour } = moesuite;
  const SIDE = 224;  // of a picture on the page

  const tint = (expert) => expert < 10 ? colour(expert) : `hsl(${(expert * 137.5) % 360} 65% 48%)`;
  const said = (experts) => experts.length ? `expert${experts.length > 1 ? "s" : ""} ${experts.join(", ")}` : "unserved";

  function tiles(layer, fill) {
    const cell = SIDE / layer.columns;
    return layer.experts.slice(layer.prefix).map((experts, token) => {
      const tile = el("rect", { x: (token % layer.columns) * cell, y: Math.floor(token / layer.columns) * cell, width: cell, height: cell, ...fill(experts, token) });
      tile.append(el("title", {}, `patch ${token + 1}: ${said(experts)}`));
      return tile;
    });
  }
  function picture(example, layer, chosen) {
    const taken = (experts) => chosen === "" ? experts.length > 0 : experts.includes(Number(chosen));
    const fill = (experts) => taken(experts) ? { fill: tint(chosen === "" ? experts[0] : Number(chosen)), "fill-opacity": 0.45, stroke: "none" } : { fill: "#000", "fill-opacity": chosen === "" ? 0.75 : 0.6 };
    const count = layer.experts.slice(layer.prefix).filter(taken).length;
    return el("figure", {}, el("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, width: SIDE, height: SIDE, role: "img", "aria-label": `test image with ${count} of ${layer.columns ** 2} patches ${chosen === "" ? "served by an expert, coloured by it" : "taken by expert " + chosen}` },
      el("image", { href: example.image, width: SIDE, height: SIDE, style: "image-rendering: pixelated", preserveAspectRatio: "none" }), tiles(layer, fill)));
  }
  function slots(example, layer) {
    return layer.slots.map((weights, slot) => el("figure", {}, el("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, width: SIDE / 2, height: SIDE / 2, role: "img", "aria-label": `weights of slot ${slot + 1} over the patches` },
      el("image", { href: example.image, width: SIDE, height: SIDE, style: "image-rendering: pixelated", preserveAspectRatio: "none" }),
      tiles(layer, (_, token) => ({ fill: "#000", "fill-opacity": (0.9 * (1 - weights[layer.prefix + token] / 100)).toFixed(2) }))), el("figcaption", {}, `slot ${slot + 1}`)));
  }
  function text(example, layer, chosen) {
    return el("p", { class: "words" }, example.words.map((word, token) => {
      const experts = layer.experts[token] || [], shown = chosen === "" || experts.includes(Number(chosen));
      const style = experts.length && shown ? `border-color:${tint(chosen === "" ? experts[0] : Number(chosen))}` : "";
      return el("span", { style, class: shown ? null : "dim", title: said(experts) }, word.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "·"));
    }));
  }

  function looked(place, found) {
    const names = [...new Set(found.examples.flatMap((example) => example.layers.map((layer) => layer.layer)))];
    if (!names.length) return;
    const experts = [...new Set(found.examples.flatMap((example) => example.layers.flatMap((layer) => layer.experts.flat())))].sort((a, b) => a - b);
    const shown = el("div");
    const layerChoice = el("select", { id: "layer", change: draw }, names.map((name) => el("option", { value: name }, name)));
    const expertChoice = el("select", { id: "expert", change: draw }, el("option", { value: "" }, "all, by colour"), experts.map((expert) => el("option", { value: expert }, String(expert))));
    function draw() {
      const chosen = expertChoice.value, pairs = found.examples.map((example) => [example, example.layers.find((layer) => layer.layer === layerChoice.value)]).filter(([, layer]) => layer);
      const images = pairs.filter(([example, layer]) => example.image && layer.columns), soft = images.find(([, layer]) => layer.slots.length);
      shown.replaceChildren(
        el("div", { class: "looks" }, images.map(([example, layer]) => picture(example, layer, chosen))),
        ...pairs.filter(([example]) => example.words.length).map(([example, layer]) => text(example, layer, chosen)),
        ...(soft ? [el("h3", {}, "What the first slots read of the first image"), el("div", { class: "looks" }, slots(...soft))] : []));
    }
    place.append(el("h2", {}, "What the router looked at"),
      el("p", {}, "Test examples, each token in the colour of the expert that served it with the largest weight; dark or plain: unserved. "),
      el("p", {}, el("label", {}, "Layer ", layerChoice), " ", el("label", {}, "Expert ", expertChoice)), shown,
      el("ul", { class: "legend" }, experts.slice(0, 64).map((expert) => el("li", {}, el("i", { style: `background:${tint(expert)}` }), `expert ${expert}`))));
    draw();
  }
  return { looked };
})());
