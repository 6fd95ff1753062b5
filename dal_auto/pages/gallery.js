// A picture of a table's row opens in full size; arrows lead to the pictures of other rows.
{
  const dialog = document.querySelector("#gallery");
  const find = id => document.getElementById(id);
  const links = () => [...document.querySelectorAll("tr:not([hidden]) a.enlarge")];
  let current = null;
  const show = link => {
    const [small, large] = [link, dialog].map(one => one.querySelector("img"));
    const row = link.closest("tr");
    current = link;
    find("shown").textContent = nameOf(row.querySelector("th[scope=row]"));
    large.src = link.href;
    large.alt = small.alt;
    large.parentElement.href = link.href;
    dialog.querySelector("p").textContent = [...row.querySelectorAll("li")].map(item => item.textContent).join("; ");
  };
  const step = by => {
    const there = links();
    const next = there[there.indexOf(current) + by];
    if (next) show(next);
  };
  document.addEventListener("click", event => {
    const link = event.target.closest("a.enlarge");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link);
    dialog.showModal();
  });
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", event => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => current?.focus());
}
