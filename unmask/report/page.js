// Replaces each static drawing by one that answers to the pointer and to the width of the window.
// Specifications come from the page's own JSON block; expressions run in Vega's interpreter, never through eval.
(() => {
  "use strict";
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);

  // The moments of watched sentences: one slider shows one row of every table; without scripts all rows stand.
  for (const viewer of document.querySelectorAll(".viewer")) {
    const tables = [...viewer.querySelectorAll("tbody")];
    if (!tables.length) continue;
    const slider = document.createElement("input");
    const moment = document.createElement("output");
    slider.type = "range";
    slider.max = String(tables[0].rows.length - 1);
    slider.value = slider.max;
    slider.setAttribute("aria-label", "moment of the training");
    const show = () => {
      for (const table of tables) [...table.rows].forEach((row, n) => (row.hidden = n !== Number(slider.value)));
      moment.textContent = tables[0].rows[Number(slider.value)].cells[0].textContent;
    };
    slider.addEventListener("input", show);
    viewer.prepend(slider, moment);
    show();
  }

  // Vega's own tooltip writes markup and style attributes; this one writes text.
  const tooltip = (handler, event, item, value) => {
    tip.replaceChildren();
    tip.hidden = value === null || value === undefined || value === "";
    if (tip.hidden) return;
    const lines = typeof value === "object" ? Object.entries(value) : [["", value]];
    for (const [name, text] of lines) {
      const row = tip.appendChild(document.createElement("div"));
      row.appendChild(document.createElement("span")).textContent = name;
      row.appendChild(document.createElement("b")).textContent = String(text);
    }
    const box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - box.width - 8);
    const above = event.clientY - box.height - 12;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above < 8 ? event.clientY + 16 : above}px`;
  };

  const options = { ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip };
  const draw = async (id, spec) => {
    const place = document.getElementById(id);
    const still = place.firstElementChild;
    const live = document.createElement("div");
    live.className = "live";
    place.append(live);
    try {
      await window.vegaEmbed(live, spec, options);
      still.remove();
      place.dataset.drawn = "yes";
    } catch (error) {
      live.remove();
      console.error(`chart ${id}: ${error}`);
    }
  };
  for (const [id, spec] of Object.entries(specs)) draw(id, spec);
})();
