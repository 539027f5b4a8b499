// A link to a folded clause unfolds it, and one button folds or unfolds all clauses of a page.
const clauses = () => [...document.querySelectorAll("section.clause > details")];

function unfoldTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && (target.querySelector(":scope > details") || target.closest("details"));
  if (details) { details.open = true; target.scrollIntoView(); }
}

function addButton() {
  const title = document.querySelector("article h1");
  if (!title || clauses().length === 0) return;
  const button = document.createElement("button");
  button.className = "fold";
  button.type = "button";
  button.textContent = "Fold all clauses";
  button.addEventListener("click", () => {
    const open = clauses().some((one) => one.open);
    clauses().forEach((one) => { one.open = !open; });
    button.textContent = open ? "Unfold all clauses" : "Fold all clauses";
  });
  title.after(button);
}

window.addEventListener("hashchange", unfoldTarget);
window.addEventListener("DOMContentLoaded", () => { addButton(); unfoldTarget(); });
