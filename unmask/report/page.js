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
