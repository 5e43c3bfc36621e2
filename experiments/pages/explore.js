"use strict";
// The page of closed forms: knobs -> curves of theory.js, with the bands that were measured.

(() => {
  const byId = (id) => document.getElementById(id);
  const bands = JSON.parse(byId("bands").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const BOX = { left: 52, right: 350, top: 12, bottom: 200 };
  const LN10 = Math.LN10;
  const NEAR = 0.004; // of a measured gain, relative
  const critical = {};

  // --- what is asked ---

  function knobs() {
    const activation = byId("activation").value;
    critical[activation] ??= theory.criticalGain(activation);
    return {
      activation,
      batchNorm: byId("batch-norm").checked,
      skip: byId("skip").checked,
      factor: Number(byId("gain").value),
      depth: Number(byId("depth").value),
    };
  }

  // Returns {signal, gradient} by layer, natural logs; null where there is no closed form.
  function expected({ activation, batchNorm, skip, depth }, factor) {
    const sigma = factor * critical[activation];
    if (batchNorm && activation !== "relu" && activation !== "linear") return null;
    if (skip) {
      return theory.residualLogNorms(activation, sigma, depth, batchNorm ? bands.batch : null);
    }
    if (batchNorm) return theory.batchNormLogNorms(activation, sigma, bands.batch, depth);
    return theory.logNorms(activation, sigma, bands.width, depth);
  }

  function netOf({ activation, batchNorm, skip }) {
    if (!batchNorm && !skip) return `plain/${activation}`;
    return `${skip ? "residual" : "plain"}${batchNorm ? "+bn" : ""}/${activation}`;
  }

  // Returns what was measured at a gain, {signal, gradient} of [seeds][layers]; null: nothing was.
  function measured(asked, factor) {
    const found = Object.entries(bands.gains).find(([, gain]) => Math.abs(gain / factor - 1) < NEAR);
    return (found && bands.nets[`${netOf(asked)}/${found[0]}`]) || null;
  }

  // Returns [low, high] by layer; gradients count from the last of `depth` layers.
  function range(runs, depth, fromLast) {
    const kept = runs.map((run) => run.slice(0, depth));
    const moved = fromLast ? kept.map((run) => run.map((x) => x - run[depth - 1])) : kept;
    return moved[0].map((_, i) => {
      const values = moved.map((run) => run[i]);
      return [Math.min(...values), Math.max(...values)];
    });
  }

  // --- drawing ---

  function add(parent, name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  // Returns round powers of ten between two of them, at most six.
  function ticks(low, high) {
    const step = [1, 2, 5, 10, 20, 50, 100, 200].find((one) => (high - low) / one <= 5) ?? 500;
    const found = [];
    for (let x = Math.ceil(low / step) * step; x <= high; x += step) found.push(x);
    return found;
  }

  // Returns functions from data to places, with a grid drawn; y in decades.
  function axes(svg, xs, ys, words, marks) {
    svg.replaceChildren();
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    const middle = (Math.min(...ys) + Math.max(...ys)) / 2;
    const reach = Math.max(1.2, (Math.max(...ys) - Math.min(...ys)) * 0.55);
    const [low, high] = [middle - reach, middle + reach];
    const x = (value) => BOX.left + ((value - left) / (right - left)) * (BOX.right - BOX.left);
    const y = (value) => BOX.bottom - ((value - low) / (high - low)) * (BOX.bottom - BOX.top);
    for (const tick of ticks(low, high)) {
      const line = { x1: BOX.left, x2: BOX.right, y1: y(tick), y2: y(tick), class: "grid" };
      add(svg, "line", line);
      const label = Math.abs(tick) < 4 ? String(Number((10 ** tick).toPrecision(1))) : "";
      const text = add(svg, "text", { x: BOX.left - 6, y: y(tick) + 4, "text-anchor": "end" }, label);
      if (!label) {
        text.textContent = "10";
        add(text, "tspan", { dy: -5, "font-size": 9 }, String(tick).replace("-", "−"));
      }
    }
    for (const [value, name] of marks) {
      add(svg, "text", { x: x(value), y: BOX.bottom + 16, "text-anchor": "middle" }, name);
    }
    const middleX = (BOX.left + BOX.right) / 2;
    add(svg, "text", { x: middleX, y: BOX.bottom + 33, "text-anchor": "middle" }, words);
    return { x, y };
  }

  const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

  function drawLayers(svg, theirs, band, depth) {
    const layers = Array.from({ length: depth }, (_, i) => i + 1);
    const ys = [...(theirs ?? []), ...(band ?? []).flat()].map((value) => value / LN10);
    const marks = [1, Math.round((depth + 1) / 2), depth].map((layer) => [layer, String(layer)]);
    const { x, y } = axes(svg, layers, ys.length ? ys : [0], "layer", marks);
    if (band) {
      const upper = layers.map((layer, i) => [x(layer), y(band[i][1] / LN10)]);
      const lower = layers.map((layer, i) => [x(layer), y(band[i][0] / LN10)]);
      add(svg, "path", { d: `${path([...upper, ...lower.reverse()])}Z`, class: "band" });
    }
    if (theirs) {
      const line = layers.map((layer, i) => [x(layer), y(theirs[i] / LN10)]);
      add(svg, "path", { d: path(line), class: "theory" });
    }
  }

  function drawGains(svg, asked) {
    const [low, high] = [Number(byId("gain").min), Number(byId("gain").max)];
    const factors = Array.from({ length: 41 }, (_, i) => low * (high / low) ** (i / 40));
    const first = (factor) => (expected(asked, factor)?.gradient[0] ?? NaN) / LN10;
    const curve = factors.map((factor) => [factor, first(factor)]).filter(([, g]) => isFinite(g));
    const bars = Object.values(bands.gains).flatMap((factor) => {
      const runs = measured(asked, factor)?.gradient;
      return runs ? [[factor, ...range(runs, asked.depth, true)[0].map((g) => g / LN10)]] : [];
    });
    const ys = [...curve.map(([, g]) => g), ...bars.flatMap((bar) => bar.slice(1))];
    const log = Math.log;
    const marks = [0.5, 0.7, 1, 1.4, 2].map((factor) => [log(factor), `${factor}`]);
    const ends = [log(low), log(high)];
    const { x, y } = axes(svg, ends, ys.length ? ys : [0], "gain over the critical one", marks);
    for (const [factor, less, more] of bars) {
      const place = { x: x(log(factor)) - 5, width: 10, y: y(more) - 4, height: y(less) - y(more) + 8 };
      add(svg, "rect", { ...place, class: "band" });
    }
    if (!curve.length) return;
    const line = curve.map(([factor, g]) => [x(log(factor)), y(g)]);
    add(svg, "path", { d: path(line), class: "theory" });
    const here = { cx: x(log(asked.factor)), cy: y(first(asked.factor)), r: 4.5, class: "now" };
    add(svg, "circle", here);
  }

  // --- telling ---

  function told(gradient, depth) {
    const decades = gradient[0] / LN10;
    const layer = (gradient[0] / (depth - 1)).toFixed(3).replace("-", "−");
    const size = Math.abs(decades) < 3
      ? `${Number((10 ** decades).toPrecision(2))} times`
      : `10 to the ${decades.toFixed(1).replace("-", "−")} times`;
    const fate = decades < -1 ? "It vanishes" : decades > 1 ? "It explodes" : "It survives";
    return `${fate}: the first layer's gradient is ${size} the last one's (${layer} a layer, ln).`;
  }

  function show() {
    const asked = knobs();
    const theirs = expected(asked, asked.factor);
    const runs = measured(asked, asked.factor);
    const sigma = (asked.factor * critical[asked.activation]).toFixed(2);
    byId("gain-told").textContent = `${asked.factor.toFixed(2)} × critical (${sigma})`;
    byId("depth-told").textContent = String(asked.depth);
    const none = "There is no closed form here for batch norm with this activation.";
    const seen = runs ? "" : " Nets like these were not measured; try the buttons of the gain.";
    byId("verdict").textContent = (theirs ? told(theirs.gradient, asked.depth) : none) + seen;
    const band = (quantity, fromLast) => runs && range(runs[quantity], asked.depth, fromLast);
    drawLayers(byId("signal"), theirs?.signal, band("signal", false), asked.depth);
    drawLayers(byId("gradient"), theirs?.gradient, band("gradient", true), asked.depth);
    drawGains(byId("gains-chart"), asked);
  }

  for (const id of ["activation", "batch-norm", "skip", "gain", "depth"]) {
    byId(id).addEventListener("input", show);
  }
  for (const button of document.querySelectorAll("[data-gain]")) {
    button.addEventListener("click", () => {
      byId("gain").value = button.dataset.gain;
      show();
    });
  }
  show();
})();
