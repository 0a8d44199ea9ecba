"use strict";
// Ask the server every few seconds whether the studies have changed; if so, load the page again, where it was.
(() => {
  const shown = document.querySelector('meta[name="stamp"]').content;
  const note = document.createElement("p");
  note.id = "live";
  note.setAttribute("role", "status");
  note.textContent = "Live: the page follows the search.";
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
      note.textContent = "Live: the page follows the search.";
    } catch {
      note.textContent = "The dashboard has ended; this is its last page.";
    }
    setTimeout(ask, 2000);
  };
  setTimeout(ask, 2000);
})();
