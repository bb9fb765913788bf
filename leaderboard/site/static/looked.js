// Routing of test examples: patches of images and tokens of texts by expert, and the slots of soft
// routing.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { el, colour } = moesuite;
    const SIDE = 224; // of a picture on the page
    const COLOURS = 10; // experts with a colour of the palette
    const LEGEND = 64; // experts in the legend
    const ALL = ""; // instead of the number of an expert
    const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g; // characters without a glyph

    // Further colours turn by the golden angle, so that neighbours differ.
    const tint = (expert) =>
      expert < COLOURS ? colour(expert) : `hsl(${(expert * 137.5) % 360} 65% 48%)`;
    function said(experts) {
      if (!experts.length) return "unserved";
      return `expert${experts.length > 1 ? "s" : ""} ${experts.join(", ")}`;
    }
    // The expert whose colour a token has: the chosen one, else that of the largest weight.
    const shownExpert = (experts, chosen) => (chosen === ALL ? experts[0] : Number(chosen));
    function isTaken(experts, chosen) {
      return chosen === ALL ? experts.length > 0 : experts.includes(Number(chosen));
    }

    // A square for each patch; `layer.prefix` tokens before the first patch are none.
    function tiles(layer, fill) {
      const size = SIDE / layer.columns;
      return layer.experts.slice(layer.prefix).map((experts, patch) => {
        const x = (patch % layer.columns) * size;
        const y = Math.floor(patch / layer.columns) * size;
        const title = el("title", {}, `patch ${patch + 1}: ${said(experts)}`);
        return el("rect", { x, y, width: size, height: size, ...fill(experts, patch) }, title);
      });
    }
    function svgOf(example, size, label, squares) {
      const attributes = { viewBox: `0 0 ${SIDE} ${SIDE}`, width: size, height: size };
      const image = el("image", {
        href: example.image,
        width: SIDE,
        height: SIDE,
        style: "image-rendering: pixelated",
        preserveAspectRatio: "none",
      });
      return el("svg", { ...attributes, role: "img", "aria-label": label }, image, squares);
    }

    function picture(example, layer, chosen) {
      const fill = (experts) => {
        if (!isTaken(experts, chosen)) {
          return { fill: "#000", "fill-opacity": chosen === ALL ? 0.75 : 0.6 };
        }
        return { fill: tint(shownExpert(experts, chosen)), "fill-opacity": 0.45, stroke: "none" };
      };
      const patches = layer.experts.slice(layer.prefix);
      const taken = patches.filter((experts) => isTaken(experts, chosen)).length;
      const how =
        chosen === ALL ? "served by an expert, coloured by it" : `taken by expert ${chosen}`;
      const label = `test image with ${taken} of ${layer.columns ** 2} patches ${how}`;
      return el("figure", {}, svgOf(example, SIDE, label, tiles(layer, fill)));
    }

    // What each slot reads: the smaller the weight of a patch, the darker it is.
    function slotPictures(example, layer) {
      return layer.slots.map((weights, slot) => {
        const fill = (_, patch) => {
          const weight = weights[layer.prefix + patch] / 100;
          return { fill: "#000", "fill-opacity": (0.9 * (1 - weight)).toFixed(2) };
        };
        const label = `weights of slot ${slot + 1} over the patches`;
        const svg = svgOf(example, SIDE / 2, label, tiles(layer, fill));
        return el("figure", {}, svg, el("figcaption", {}, `slot ${slot + 1}`));
      });
    }

    function text(example, layer, chosen) {
      const words = example.words.map((word, token) => {
        const experts = layer.experts[token] || [];
        const isShown = chosen === ALL || isTaken(experts, chosen);
        const isColoured = experts.length > 0 && isShown;
        const style = isColoured ? `border-color:${tint(shownExpert(experts, chosen))}` : "";
        const attributes = { style, class: isShown ? null : "dim", title: said(experts) };
        return el("span", attributes, word.replace(CONTROL, "·"));
      });
      return el("p", { class: "words" }, words);
    }

    function examplesOf(routing, layerName, chosen) {
      const pairs = routing.examples
        .map((example) => [example, example.layers.find((layer) => layer.layer === layerName)])
        .filter(([, layer]) => layer);
      const images = pairs.filter(([example, layer]) => example.image && layer.columns);
      const texts = pairs.filter(([example]) => example.words.length);
      const soft = images.find(([, layer]) => layer.slots.length);
      const row = (children) => el("div", { class: "looks" }, children);
      return [
        row(images.map(([example, layer]) => picture(example, layer, chosen))),
        ...texts.map(([example, layer]) => text(example, layer, chosen)),
        soft ? el("h3", {}, "What the first slots read of the first image") : null,
        soft ? row(slotPictures(...soft)) : null,
      ].filter(Boolean);
    }

    function expertLegend(experts) {
      const items = experts
        .slice(0, LEGEND)
        .map((expert) =>
          el("li", {}, el("i", { style: `background:${tint(expert)}` }), `expert ${expert}`),
        );
      return el("ul", { class: "legend" }, items);
    }

    // Show the routing of examples, layer by layer.
    function looked(place, routing) {
      const layers = routing.examples.flatMap((example) => example.layers);
      const names = [...new Set(layers.map((layer) => layer.layer))];
      if (!names.length) return;
      const numbers = new Set(layers.flatMap((layer) => layer.experts.flat()));
      const experts = [...numbers].sort((a, b) => a - b);
      const shown = el("div");
      const change = () =>
        shown.replaceChildren(...examplesOf(routing, layerChoice.value, expertChoice.value));
      const option = (value, label) => el("option", { value }, label);
      const layerChoice = el(
        "select",
        { id: "layer", change },
        names.map((name) => option(name, name)),
      );
      const expertChoice = el(
        "select",
        { id: "expert", change },
        option(ALL, "all, by colour"),
        experts.map((expert) => option(expert, String(expert))),
      );
      const explanation =
        "Test examples, each token in the colour of the expert that served it with the largest " +
        "weight; dark or plain: unserved.";
      place.append(
        el("h2", {}, "Routing of test examples"),
        el("p", {}, explanation),
        el(
          "p",
          {},
          el("label", {}, "Layer ", layerChoice),
          " ",
          el("label", {}, "Expert ", expertChoice),
        ),
        shown,
        expertLegend(experts),
      );
      change();
    }
    return { looked };
  })(),
);
