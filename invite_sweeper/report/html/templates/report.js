"use strict";
// Sorts and filters the tables. Without scripts the page still shows everything.
(() => {
  const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  const textOf = (cell) => cell.textContent.trim();
  const keyOf = (cell, kind) => {
    const rank = cell.dataset.rank;
    if (kind === "number") return rank === undefined ? null : Number(rank);
    return (rank ?? textOf(cell)) || null;
  };
  const compare = (left, right) =>
    typeof left === "number" && typeof right === "number" ? left - right : order.compare(left, right);

  const sort = (table, heads, index) => {
    const head = heads[index];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const keyed = Array.from(body.rows, (row) => [keyOf(row.cells[index], head.dataset.kind), row]);
    keyed.sort(([left], [right]) => {
      // Unknown values come last in both directions.
      if (left === null || right === null) return (left === null) - (right === null);
      return down ? compare(right, left) : compare(left, right);
    });
    body.append(...keyed.map(([, row]) => row));
  };

  const haystack = (row) => {
    const titles = Array.from(row.querySelectorAll("[title]"), (node) => node.title);
    return [row.textContent, ...titles].join(" ").toLowerCase();
  };

  const filter = (box, table) => {
    const field = box.querySelector("[data-filter]");
    const states = box.querySelector("[data-state]");
    const status = box.querySelector("[data-count]");
    const rows = Array.from(table.tBodies[0].rows, (row) => ({
      row,
      text: haystack(row),
      state: row.querySelector("[data-is]")?.dataset.is,
    }));
    const apply = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const state = states?.value ?? "";
      let shown = 0;
      for (const { row, text, state: rowState } of rows) {
        const fits = words.every((word) => text.includes(word)) && (!state || state === rowState);
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      status.textContent = `${shown} of ${rows.length} rows`;
    };
    field.addEventListener("input", apply);
    states?.addEventListener("change", apply);
    apply();
  };

  for (const box of document.querySelectorAll("[data-grid]")) {
    const table = box.querySelector("table");
    const heads = Array.from(table.tHead.rows[0].cells);
    if (table.tBodies[0].rows.length > 1) {
      heads.forEach((head, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = head.textContent;
        button.addEventListener("click", () => sort(table, heads, index));
        head.replaceChildren(button);
      });
    }
    const controls = box.querySelector(".controls");
    if (controls) {
      controls.hidden = false;
      filter(box, table);
    }
  }
})();
