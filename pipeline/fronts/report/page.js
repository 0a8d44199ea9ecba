"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById("data-" + id).textContent);
  const layers = read("layers"), points = read("points");
  const narrow = () => window.innerWidth <= 640;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // What is left of a network, layer by layer.
  const element = (tag, kind, content) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (content !== undefined) made.textContent = content;
    return made;
  };
  const show = (place) => {
    const card = document.getElementById("network");
    if (!card) return;
    const found = layers[place], [study, trial, point] = place.split("/");
    card.replaceChildren(element("h3", "", `Trial ${trial}, point ${point} of ${study}`));
    document.querySelectorAll("button[data-point]").forEach((button) =>
      button.setAttribute("aria-pressed", String(button.dataset.point === place)));
    const chosen = points[place];
    if (chosen) {
      card.append(element("p", "", chosen.said));
      const line = element(chosen.command ? "div" : "p", chosen.command && "command");
      const copy = element("button", "", "Copy");
      copy.type = "button";
      copy.addEventListener("click", async () => {
        try { await navigator.clipboard.writeText(chosen.command); }
        catch { getSelection().selectAllChildren(line.querySelector("code")); document.execCommand("copy"); }
        copy.textContent = "Copied";
        setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      });
      const code = element("code", "");
      chosen.command.split(" ").forEach((word, at) => code.append(at ? " " : "", element("span", "", word)));
      if (chosen.command) line.append(code, copy);
      else line.textContent = "No command exports it: another network of its trial is smaller and no worse, or it is no " +
        "better than a constant prediction.";
      const settings = element("details"), list = element("pre", "", chosen.settings);
      settings.append(element("summary", "", "Its settings"), list);
      card.append(line, settings);
    }
    if (!found) {
      card.append(element("p", "", "The page holds the layers of points on the front and of recovered networks only."));
      return;
    }
    const heads = found.heads.join("");
    const stays = [...heads].filter((head) => head === "1").length;
    const blocks = found.neurons.filter((share) => share > 0).length;
    card.append(element("p", "", `${stays} of ${heads.length} heads and ${blocks} of ${found.neurons.length} ` +
      "feed-forward blocks are left; filled squares are heads, the bar is the share of neurons."));
    const grid = element("div", "layers");
    grid.setAttribute("role", "list");
    found.heads.forEach((row, at) => {
      const layer = element("div", "layer"), squares = element("div", "heads"), bar = element("div", "ffn");
      const left = [...row].filter((head) => head === "1").length, share = found.neurons[at];
      layer.setAttribute("role", "listitem");
      layer.setAttribute("aria-label", `Layer ${at + 1}: ${left} of ${row.length} heads, ` +
        `${Math.round(100 * share)} percent of the neurons`);
      [...row].forEach((head) => squares.append(element("i", head === "1" ? "stays" : "")));
      const fill = element("i");
      fill.style.width = `${100 * share}%`;
      bar.append(fill);
      const attention = left ? `${left}/${row.length}` : "no attention";
      const said = `${attention} · ${share ? Math.round(100 * share) + " %" : "no FFN"}`;
      layer.append(element("span", "", `layer ${at + 1}`), squares, bar, element("span", "", said));
      grid.append(layer);
    });
    card.append(grid);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-point]");
    if (button) {
      show(button.dataset.point);
      document.getElementById("network").scrollIntoView({ block: "nearest" });
    }
  });

  // Figures: plotly is unpacked once the page is there to be read; each is drawn when it comes near the window.
  const unpacked = async () => {
    const text = atob(document.getElementById("plotly").textContent), packed = new Uint8Array(text.length);
    for (let at = 0; at < packed.length; at++) packed[at] = text.charCodeAt(at);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };
  let plotly;
  const unpack = () => plotly ||= unpacked().then(() => true, () => {
    places.forEach((place) => { place.textContent = "This browser is too old for the figures; the tables say the same."; });
    return false;
  });
  const legendRows = (figure) => {
    if (figure.layout.showlegend === false) return 0;
    const names = new Set(figure.data.filter((trace) => trace.showlegend !== false && trace.name).map((trace) => trace.name));
    const room = Math.min(window.innerWidth, 1080) - 90, letter = narrow() ? 6.6 : 7.2;
    let rows = 1, used = 0;
    for (const name of names) {
      const width = 44 + letter * name.length;
      if (used && used + width > room) [rows, used] = [rows + 1, 0];
      used += width;
    }
    return names.size > 1 ? rows : 0;
  };
  const themed = (figure) => {
    const small = narrow(), layout = figure.layout, made = structuredClone(layout), legend = 29 * legendRows(figure);
    delete made.title;
    const lines = { gridcolor: colour("--line"), linecolor: colour("--quiet") };
    for (const axis of Object.keys(made).filter((key) => /^[xy]axis/.test(key))) Object.assign(made[axis], lines);
    for (const axis of [made.xaxis, made.yaxis].filter((one) => one && one.title && one.title.text)) {
      axis.title.font = { size: small ? 11 : 14 };
      if (small && axis === made.xaxis && axis.title.text.length > 30) axis.title.text = axis.title.text.replace(/^(.{12,30}?) /, "$1<br>");
    }
    if (made.xaxis && made.xaxis.title) made.xaxis.title.standoff = 10;
    if (made.yaxis && made.yaxis.title) made.yaxis.title.standoff = 8;
    if (small && made.xaxis && made.xaxis.ticktext) {  // axes side by side: a word a line
      made.xaxis.tickfont = { size: 9 };
      made.xaxis.ticktext = made.xaxis.ticktext.map((label) =>
        label.replace(/<b>(.*?)<\/b>/, (_, name) => `<b>${name.replaceAll(" ", "<br>")}</b>`).replace(" … ", "<br>… "));
    }
    const font = { color: colour("--ink"), size: small ? 11 : 13, family: "system-ui, Helvetica, Arial, sans-serif" };
    const own = layout.height && layout.height !== 600 ? layout.height - 60 : small ? 330 : 440;
    const margin = { t: 16, r: 14, l: small ? 56 : 72, b: (small ? 72 : 62) + legend };
    if (made.yaxis && made.yaxis.automargin) margin.l = 10;
    const hoverlabel = { ...made.hoverlabel, bgcolor: colour("--paper"), font: { color: colour("--ink"), size: 13 } };
    const modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: colour("--ink") };
    return { ...made, font, margin, height: own + legend, hoverlabel, modebar, colorway: ["#0072B2"],
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true };
  };
  // Fronts: zoomed to their heights, or down to the constant; over another axis.
  const arranged = (figure, place) => {
    const meta = figure.layout.meta;
    if (!meta || !meta.axes) return figure;
    place.dataset.axis ||= meta.axes[meta.first] ? meta.first : "gain";
    const axis = meta.axes[place.dataset.axis], whole = place.dataset.range === "full";
    const made = structuredClone(figure), range = whole ? "full" : "zoom";
    made.layout.yaxis.range = meta[range];
    if (!axis) return made;
    made.layout.xaxis = { ...made.layout.xaxis, range: axis[range], ticksuffix: "", title: { text: axis.title } };
    for (const trace of made.data) {
      const other = trace.meta && trace.meta[place.dataset.axis];
      if (!other) { if (trace.meta && trace.meta.only) trace.x = trace.y.map(() => null); continue; }
      trace.x = other.map((value, at) => value ?? (trace.mode === "lines" && at ? axis.full[1] : null));
    }
    return made;
  };
  const names = { gain: "compression", MB: "MB", MACs: "MACs", ms: "ms" };
  const controls = (place, figure) => {
    const meta = figure.layout.meta;
    if (!meta || !meta.axes || place.previousElementSibling.classList.contains("controls")) return;
    const bar = element("div", "controls");
    const buttons = (group, choices, key, first) => choices.forEach(([value, name]) => {
      const button = element("button", "", name);
      button.type = "button";
      button.setAttribute("aria-pressed", String(value === first));
      button.addEventListener("click", () => {
        place.dataset[key] = value;
        group.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
        draw(place);
      });
      group.append(button);
    });
    const over = element("span", "", "over "), range = element("span");
    buttons(over, [["gain", names.gain], ...Object.keys(meta.axes).map((key) => [key, names[key]])], "axis", place.dataset.axis);
    buttons(range, [["zoom", "the front"], ["full", "full range"]], "range", "zoom");
    bar.append(over, range);
    place.before(bar);
  };
  // marks that are hollow, and what is in the colour of the ink or of quiet words, follow the page
  const follow = { white: "--paper", "#222222": "--ink", "#6B6B6B": "--quiet" };
  const coloured = (traces) => traces.map((trace) => {
    const made = structuredClone(trace);
    for (const part of [made.marker, made.marker && made.marker.line, made.line])
      if (part && follow[part.color]) part.color = colour(follow[part.color]);
    return made;
  });
  // plotly 4 has a button that sends a chart's data away; not from here
  const config = { displaylogo: false, responsive: true, showSendToCloud: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const draw = async (place) => {
    const figure = arranged(read(place.id), place), layout = themed(figure);
    controls(place, figure);
    place.style.height = `${layout.height}px`;
    if (!await unpack()) return;
    await window.Plotly.react(place, coloured(figure.data), layout, { ...config, displayModeBar: narrow() ? false : "hover" });
    place.classList.remove("pending");
    if (!place.dataset.drawn) {
      place.dataset.drawn = "yes";
      place.on("plotly_click", (event) => {
        const mark = event.points.find((point) => typeof point.customdata === "string");
        if (mark) show(mark.customdata);
      });
    }
  };
  const places = [...document.querySelectorAll(".plot")];
  places.forEach((place) => place.classList.add("pending"));
  const watcher = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach((one) => {
    watcher.unobserve(one.target);
    draw(one.target);
  }), { rootMargin: "600px" });
  places.forEach((place) => watcher.observe(place));
  const again = () => places.filter((place) => place.dataset.drawn).forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let wasNarrow = narrow();
  addEventListener("resize", () => { if (narrow() !== wasNarrow) { wasNarrow = narrow(); again(); } });
  document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", () =>
    part.querySelectorAll(".plot").forEach((place) => { if (part.open && place.dataset.drawn) draw(place); })));
  addEventListener("beforeprint", () => { document.querySelectorAll("details").forEach((part) => { part.open = true; });
    places.forEach(draw); });
  const front = document.querySelector("button[data-point]")?.closest("table").querySelectorAll("button[data-point]");
  if (front) show(front[Math.floor(front.length / 2)].dataset.point);
  document.documentElement.dataset.ready = "yes";
  requestAnimationFrame(() => setTimeout(unpack, 0));
})();
