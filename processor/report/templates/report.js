// Tables that sort by the column whose heading is pressed: figures the largest first, words from A to Z, and the other way again.
document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const isFigure = head.classList.contains("figure");
    const read = (row) => row.cells[column].textContent.trim();
    const number = (row) => parseFloat(read(row).replaceAll(",", "").replaceAll("\u2212", "-"));
    button.addEventListener("click", () => {
      const isDown = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : isFigure;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      const known = (row) => !isFigure || !Number.isNaN(number(row));
      const order = (a, b) => (isFigure ? number(a) - number(b) : read(a).localeCompare(read(b), "en", { numeric: true }));
      const rows = [...table.tBodies[0].rows];
      const sorted = rows.filter(known).sort((a, b) => (isDown ? order(b, a) : order(a, b)));
      table.tBodies[0].append(...sorted, ...rows.filter((row) => !known(row)));
    });
  });
});
