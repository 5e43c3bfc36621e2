"use strict";
// What the pages do beyond being read: choosing experiments, and taking panels out of figures.

(() => {
  const byId = (id) => document.getElementById(id);

  // --- the index: verdict, theme, paper ---

  const filters = byId("filters");
  const choices = ["by-verdict", "by-theme", "by-paper"].map(byId);

  function isShown(article, verdict, paper) {
    if (!verdict && !paper) return true;
    const told = JSON.parse(article.dataset.told);
    return told.some((one) => (!verdict || one[0] === verdict) && (!paper || one[1] === paper));
  }

  function choose() {
    const [verdict, theme, paper] = choices.map((choice) => choice.value);
    let shown = 0;
    let all = 0;
    for (const section of document.querySelectorAll("section.theme")) {
      let here = 0;
      for (const article of section.querySelectorAll("article")) {
        const fits = (!theme || section.dataset.theme === theme) && isShown(article, verdict, paper);
        article.hidden = !fits;
        here += fits ? 1 : 0;
        all += 1;
      }
      section.hidden = !here;
      shown += here;
    }
    byId("shown").textContent = `${shown} of ${all} experiments`;
  }

  if (filters) {
    filters.hidden = false;
    choices.forEach((choice) => choice.addEventListener("change", choose));
    choose(); // a browser may restore what was chosen before
  }

  // --- panels of a figure ---

  const PNG_WIDTH = 1600;
  const figures = {};
  window.jaxvisionFigure = (name, panels) => {
    figures[name] = panels;
  };

  // A page from a disk may read no file, but it may run a script that holds the panels.
  function load(name) {
    return new Promise((resolve, reject) => {
      if (figures[name]) {
        resolve(figures[name]);
        return;
      }
      const script = document.createElement("script");
      script.src = `figures/${encodeURIComponent(name)}.js`;
      script.onload = () => resolve(figures[name]);
      script.onerror = reject;
      document.head.append(script);
    });
  }

  function toPng(svg) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = PNG_WIDTH;
        canvas.height = Math.round((PNG_WIDTH * image.naturalHeight) / image.naturalWidth);
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        canvas.toBlob(resolve, "image/png");
      };
      image.onerror = reject;
      image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
    });
  }

  function download(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  async function take(button) {
    const { figure, panel, kind } = button.dataset;
    const svg = (await load(figure))[panel - 1];
    const made = kind === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : await toPng(svg);
    download(made, `${figure}-${panel}.${kind}`);
  }

  for (const button of document.querySelectorAll(".panels button")) {
    button.hidden = false;
    button.addEventListener("click", () => take(button));
  }

  // A figure of six panels is too small for a phone: there they stand one by one.
  if (window.matchMedia("(max-width: 40rem)").matches) {
    const panels = document.querySelector("#figure .panels");
    if (panels) panels.open = true;
  }
})();
