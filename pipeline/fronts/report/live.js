"use strict";
// Ask the server every few seconds whether the studies have changed; if so, load the page again, where it was.
(() => {
  const said = (name) => document.querySelector(`meta[name="${name}"]`).content;
  const shown = said("stamp");
  const note = document.createElement("p");
  note.id = "live";
  note.setAttribute("role", "status");
  note.textContent = said("note");
  document.querySelector("header").append(note);
  const place = sessionStorage.getItem("scrolled");
  if (place !== null) { scrollTo({ top: Number(place), behavior: "instant" }); sessionStorage.removeItem("scrolled"); }
  const ask = async () => {
    try {
      const answer = await fetch("stamp", { cache: "no-store" });
      if (answer.ok && await answer.text() !== shown) {
        sessionStorage.setItem("scrolled", String(scrollY));
        location.reload();
        return;
      }
      note.textContent = said("note");
    } catch {
      note.textContent = "The dashboard has ended; this is its last page.";
    }
    setTimeout(ask, 2000);
  };
  setTimeout(ask, 2000);
})();
