"use strict";
// Sort a table by the heading that was pressed; missing values stay last in both directions.
const keyOf = (row, column) => {
  const cell = row.cells[column];
  const text = (cell.querySelector("a, strong") ?? cell.firstChild)?.textContent ?? "";
  return { text, number: Number(cell.dataset.value ?? text), missing: text === "–" };
};
for (const button of document.querySelectorAll("th[aria-sort] button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const body = heading.closest("table").tBodies[0];
    const numeric = heading.classList.contains("number");
    const first = numeric ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? other : first;
    for (const each of heading.parentElement.cells) each.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = [...body.rows].map(row => [keyOf(row, heading.cellIndex), row]);
    keyed.sort(([a], [b]) => {
      if (a.missing || b.missing) return a.missing - b.missing;
      if (numeric) return sign * (a.number - b.number);
      return sign * a.text.localeCompare(b.text, "en", { numeric: true });
    });
    body.append(...keyed.map(([, row]) => row));
  });
}
// Rows of a long table that hold what was typed.
for (const search of document.querySelectorAll(".search")) {
  const field = search.querySelector("input");
  const count = search.querySelector("output");
  const rows = [...search.nextElementSibling.querySelector("tbody").rows];
  const texts = rows.map(row => row.textContent.toLowerCase());
  const filter = () => {
    const wanted = field.value.trim().toLowerCase();
    rows.forEach((row, number) => { row.hidden = !texts[number].includes(wanted); });
    count.value = `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
  };
  field.addEventListener("input", filter);
  filter(); // a reloaded page keeps what was typed
}
