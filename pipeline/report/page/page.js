// What moves on the page: the target slider, switches of methods, values on hover, sortable tables, and the map. Everything
// is drawn already; the script shows, hides and reorders. It keeps its names to itself.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  document.documentElement.classList.add("js");

  // One slider for all figures and tables: position 0 is all targets and their mean.
  const slider = document.getElementById("target");
  slider?.addEventListener("input", () => {
    const [at, name] = slider.value === "0" ? ["mean", "all"] : read("targets")[slider.value - 1];
    document.getElementById("chosen").textContent = name;
    slider.setAttribute("aria-valuetext", name);
    document.body.classList.toggle("switched", at !== "mean");
    for (const node of all("[data-at]")) {
      const isOther = at !== "mean" && node.dataset.at !== at;
      node.classList.toggle(node.closest("table") ? "hidden" : "faded", isOther);
    }
    for (const plot of all("svg")) {
      const marks = all("[data-only]", plot);
      const own = marks.some((mark) => mark.dataset.only === at) ? at : "mean";
      for (const mark of marks) mark.classList.toggle("on", mark.dataset.only === own);
    }
  });

  for (const button of all("[data-toggle]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const isOn = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", isOn);
      for (const node of all("svg [data-method]"))
        if (node.dataset.method === button.dataset.toggle) node.classList.toggle("hidden", !isOn);
    });
  }

  const tip = document.getElementById("tip");
  const show = (words, event) => {
    tip.textContent = words;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
    tip.style.top = `${Math.max(4, event.clientY - height - 12)}px`;
  };
  const tipOf = (target) => target.closest?.("[data-tip]")?.dataset.tip ?? ofDot(target);
  document.addEventListener("pointermove", (event) => {
    const words = tipOf(event.target);
    if (words) show(words, event);
    else tip.hidden = true;
  });
  document.addEventListener("pointerdown", (event) => tipOf(event.target) && show(tipOf(event.target), event));
  document.addEventListener("keydown", (event) => event.key === "Escape" && (tip.hidden = true));

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell?.dataset.value === undefined ? cell?.textContent.trim() ?? "" : Number(cell.dataset.value);
  };
  const csvOf = (table) => {
    const quoted = (words) => `"${words.replaceAll('"', '""').replace(/\s+/g, " ").trim()}"`;
    const rows = all("tr", table).filter((row) => !row.classList.contains("head"));
    return rows.map((row) => [...row.cells].map((cell) => cell.dataset.value ?? quoted(cell.textContent)).join(",")).join("\n");
  };
  const copy = async (words) => {
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      // A file that was opened from a disk may not use the clipboard directly.
      const area = make("textarea", { value: words });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const table of all("table")) {
    const button = make("button", { type: "button", textContent: "Copy as CSV" });
    button.addEventListener("click", async () => {
      await copy(csvOf(table));
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy as CSV"), 1500);
    });
    table.closest(".table").append(make("div", { className: "tools" }, button));
    for (const head of all("thead th", table)) {
      const sorter = make("button", { type: "button", textContent: head.textContent });
      head.replaceChildren(sorter);
      sorter.addEventListener("click", () => {
        const isDown = head.getAttribute("aria-sort") !== "descending";
        for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
        for (const body of table.tBodies) {
          const rows = [...body.rows].filter((row) => !row.classList.contains("head"));
          const ordered = rows.sort((a, b) => {
            const [x, y] = [valueOf(a, head.cellIndex), valueOf(b, head.cellIndex)];
            const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
            return isDown ? -order : order;
          });
          body.append(...ordered);
        }
      });
    }
  }

  // The map: dots in the order of the data.
  const map = read("map-data");
  const dots = all("#figure-map .dots circle");
  const place = new Map(dots.map((dot, i) => [dot, i]));
  function ofDot(target) {
    const i = place?.get(target);
    if (i === undefined) return "";
    const facts = map.labels.map((label) => `${label.title}: ${label.values[label.codes[i]]}`);
    return `${map.prompts[i]}\n${facts.join(" · ")}`;
  }
  if (map) {
    const options = (names) => names.map((name, i) => make("option", { value: i, textContent: name }));
    const by = make("select", {}, ...options(map.labels.map((label) => label.title)));
    const only = make("select");
    const paint = () => {
      const label = map.labels[by.value];
      const chosen = only.value;
      dots.forEach((dot, i) => {
        const code = label.codes[i];
        dot.setAttribute("fill", `var(--s${Math.min(code, 7) + 1})`);
        dot.classList.toggle("hidden", chosen !== "" && Number(chosen) !== code);
      });
      for (const node of all("#figure-map .numbers")) node.classList.toggle("hidden", by.value !== "0");
    };
    const fill = () => {
      only.replaceChildren(make("option", { value: "", textContent: "all" }), ...options(map.labels[by.value].values));
      paint();
    };
    by.addEventListener("change", fill);
    only.addEventListener("change", paint);
    const controls = make("div", { className: "filter scripted" });
    controls.append(make("label", {}, "Colour by ", by), make("label", {}, "Show only ", only));
    document.getElementById("figure-map").prepend(controls);
    fill();
  }
})();
