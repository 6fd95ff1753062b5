"use strict";
// Tables sort by the heading that is pressed; tools before a table show only what is wanted.
const nameOf = cell => (cell.querySelector("a:not(.enlarge), strong, span") ?? cell.firstChild)?.textContent ?? "";
const keyOf = cell => {
  const text = nameOf(cell);
  return { text, number: Number(cell.dataset.value ?? text), missing: text === "–" };
};
const opposite = order => order === "ascending" ? "descending" : "ascending";

const makeSortable = table => {
  const body = table.tBodies[0];
  const rows = [...body.rows]; // ties keep this order
  const headings = [...table.tHead.rows[0].cells];
  const numeric = column => headings[column].classList.contains("number");
  const first = column => headings[column].dataset.first ?? (numeric(column) ? "descending" : "ascending");
  const unsort = () => {
    for (const heading of headings) {
      if (heading.hasAttribute("aria-sort")) heading.setAttribute("aria-sort", "none");
    }
  };
  const sort = (column, order) => {
    unsort();
    headings[column].setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = rows.map(row => [keyOf(row.cells[column]), row]);
    keyed.sort(([a], [b]) => { // missing values stay last in both directions
      if (a.missing || b.missing) return a.missing - b.missing;
      if (numeric(column)) return sign * (a.number - b.number);
      return sign * a.text.localeCompare(b.text, "en", { numeric: true });
    });
    body.append(...keyed.map(([, row]) => row));
    table.dispatchEvent(new CustomEvent("sorted", { detail: column }));
  };
  const restore = () => {
    unsort();
    body.append(...rows);
  };
  const turn = column => {
    const order = headings[column].getAttribute("aria-sort");
    sort(column, order === first(column) ? opposite(order) : order === "none" ? first(column) : opposite(order));
  };
  headings.forEach((heading, column) => heading.querySelector("button")?.addEventListener("click", () => turn(column)));
  if (table.classList.contains("stacks")) { // on a phone each value stands under its name
    headings.forEach((heading, column) => {
      for (const row of rows) row.cells[column].dataset.title = heading.textContent.trim();
    });
  }
  return { rows, sort, restore, turn, first };
};

const makeTools = (tools, table, { rows, sort, restore, turn, first }) => {
  const [search, flagged, by, reverse, count] = ["input[type=search]", "input[type=checkbox]", "select", "button", "output"]
    .map(selector => tools.querySelector(selector));
  const names = rows.map(row => nameOf(row.querySelector("th[scope=row]")).toLowerCase());
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    rows.forEach((row, number) => {
      row.hidden = !names[number].includes(wanted) || (flagged?.checked && !row.classList.contains("flagged"));
    });
    count.value = `${rows.filter(row => !row.hidden).length} of ${rows.length} shown`;
  };
  search.addEventListener("input", filter);
  flagged?.addEventListener("change", filter);
  const isGiven = () => by?.value === ""; // the order in which the page came
  const order = () => {
    if (isGiven()) restore(); else sort(Number(by.value), first(Number(by.value)));
    reverse.disabled = isGiven();
  };
  by?.addEventListener("change", order);
  reverse?.addEventListener("click", () => turn(Number(by.value)));
  table.addEventListener("sorted", event => {
    if (!by) return;
    by.value = event.detail;
    reverse.disabled = false;
  });
  if (by && isGiven()) reverse.disabled = true;
  tools.hidden = false;
  filter(); // a reloaded page keeps what was typed
};

for (const table of document.querySelectorAll("table:has(th[aria-sort])")) {
  const sortable = makeSortable(table);
  const tools = table.parentElement.previousElementSibling;
  if (tools?.classList.contains("table-tools")) makeTools(tools, table, sortable);
}
