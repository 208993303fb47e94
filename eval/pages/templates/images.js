"use strict";
(() => {
  const part = (name) => document.getElementById(name);
  const data = JSON.parse(part("rows").textContent);
  const list = part("images"), choose = part("choose"), form = choose.querySelector("form"), large = part("large");
  const turn = part("turn"), found = part("found"), model = list.querySelector("figure");
  if (!model) return;
  const many = new Intl.NumberFormat("en").format;
  const layerOf = (tile) => tile.dataset.layer || "";
  const there = new Map([...list.children].flatMap((each) => [...each.querySelectorAll(".tile")].map(
    (tile) => [each.dataset.id + layerOf(tile), tile.querySelector("img").src])));
  const rows = data.rows.map(([id, label, k, seed, text, verdict, reason, ...scores], number) => ({
    id, label: data.labels[label], class: label, k, seed, text, verdict: data.verdicts[verdict],
    reason: data.reasons[reason], scores, number,
    after: data.after && (data.after[number] ?? text), change: data.change && data.changes[data.change[number]],
  }));
  const switches = [...document.querySelectorAll(".over")];
  const labeled = () => switches.some((each) => each.querySelector("input").checked);
  const drawn = (a, b) => a.k - b.k || a.class - b.class;
  const defaults = { show: "48", score: data.filters[0] };
  let chosen = rows, page = 0, at = 0;

  const words = (row) => row.verdict + (row.reason && ": " + row.reason);

  // What a row looks like.

  const source = (row, layer) => {
    const ending = layer ? data.layers[layer].ending : "jpg";
    if (data.embedded) {
      const tiles = layer ? data.layers[layer].tiles : data.embedded;
      return there.get(row.id + layer) || `data:image/${ending === "png" ? "png" : "jpeg"};base64,` + tiles[row.id];
    }
    const number = String(Math.floor(row.k / data.per_sheet)).padStart(5, "0");
    return encodeURIComponent(`images-${row.label}-${number}${layer && "-" + layer}.${ending}`);
  };

  const fillImage = (image, row, layer, alt) => {
    const place = row.k % data.per_sheet;
    image.style.setProperty("--row", Math.floor(place / data.across));
    image.style.setProperty("--column", place % data.across);
    image.alt = alt;
    image.src = source(row, layer);
  };

  const fillTile = (tile, row) => {
    const layer = layerOf(tile), image = tile.querySelector("img");
    tile.classList.toggle("on-sheet", !data.embedded);
    fillImage(image, row, layer, layer ? `${row.label}, after: ${row.after}` : `${row.label}: ${row.text}`);
    tile.querySelector(".labels")?.remove();
    if (!labeled()) return;
    const over = image.cloneNode();
    over.className = "labels";
    fillImage(over, row, layer ? layer + "-labels" : "labels", "");
    tile.append(over);
  };

  const fillTiles = (part, row) => part.querySelectorAll(".tile").forEach((tile) => fillTile(tile, row));

  const fillVerdict = (badge, row) => {
    badge.textContent = words(row);
    badge.className = "verdict " + row.verdict.split(" ")[0];
  };

  const figure = (row) => {
    const made = model.cloneNode(true), say = (name, text) => { made.querySelector(name).textContent = text; };
    made.dataset.id = row.id;
    made.querySelector("button").disabled = false;
    fillTiles(made, row);
    fillVerdict(made.querySelector(".verdict"), row);
    say("b", row.label);
    say(".text", row.text);
    if (row.change) say(".change", row.change);
    say(".origin", row.id);
    say(".seed", "seed " + row.seed);
    const by = data.filters.indexOf(form.elements.sort.value.slice(1));
    say(".score", by < 0 ? "" : `${data.filters[by]} ${row.scores[by] ?? "not scored"}`);
    return made;
  };

  // Which rows are shown, and in which order.

  const asked = () => {
    const given = Object.fromEntries(new FormData(form));
    return Object.fromEntries(Object.entries(given).filter(([name, value]) => value && value !== defaults[name]));
  };

  const choice = (want) => {
    const place = data.filters.indexOf(want.score || defaults.score), text = (want.text || "").toLowerCase();
    const scored = "least" in want || "most" in want;
    const picked = rows.filter((row) => (!want.class || row.label === want.class)
      && (!want.verdict || row.verdict === want.verdict) && (!want.reason || row.reason === want.reason)
      && (!text || row.text.toLowerCase().includes(text) || row.id === text || row.seed === text)
      && (!scored || (row.scores[place] !== null && row.scores[place] >= Number(want.least ?? -Infinity)
        && row.scores[place] <= Number(want.most ?? Infinity))));
    const order = want.sort || "", by = data.filters.indexOf(order.slice(1)), sign = order[0] === "-" ? -1 : 1;
    if (order === "class") return picked.sort((a, b) => a.class - b.class || a.k - b.k);
    if (by < 0) return picked.sort(drawn);
    return picked.sort((a, b) => {
      const one = a.scores[by], other = b.scores[by];  // what has no score comes last
      if (one === null || other === null) return (one === null) - (other === null) || drawn(a, b);
      return sign * (one - other) || drawn(a, b);
    });
  };

  const perPage = () => Number(form.elements.show.value);
  const pages = () => Math.max(1, Math.ceil(chosen.length / perPage()));

  const show = () => {
    page = Math.min(Math.max(page, 0), pages() - 1);
    const first = page * perPage(), shown = chosen.slice(first, first + perPage());
    list.replaceChildren(...shown.map(figure));
    const which = chosen.length === rows.length ? `${many(rows.length)} images` : `${many(chosen.length)} of ${many(rows.length)} images`;
    found.textContent = shown.length ? `${many(first + 1)} to ${many(first + shown.length)} of ${which}` : `None of ${many(rows.length)} images is like that.`;
    turn.hidden = pages() === 1;
    turn.querySelector("span").textContent = `Page ${many(page + 1)} of ${many(pages())}`;
    turn.querySelector("[name=before]").disabled = page === 0;
    turn.querySelector("[name=after]").disabled = page === pages() - 1;
  };

  const search = (keep) => {
    const want = asked();
    chosen = choice(want);
    if (!keep) page = 0;
    if (page) want.page = page + 1;
    const address = new URLSearchParams(want).toString();
    if (address || asksFor()) history.replaceState(null, "", "#" + address);
    show();
  };

  // What an address asks for, as #class=beach&verdict=rejected; other places on the page have names without "=".

  const asksFor = () => location.hash.includes("=");

  const read = () => {
    const want = new URLSearchParams(location.hash.slice(1));
    for (const each of form.elements) if (each.name) each.value = want.get(each.name) ?? defaults[each.name] ?? "";
    page = Number(want.get("page") || 1) - 1;
    search(true);
  };

  const toImages = () => document.querySelector("#images").closest("section").scrollIntoView();

  // One of them, large.

  const term = (name, text) => {
    const made = [document.createElement("dt"), document.createElement("dd")];
    made[0].textContent = name;
    made[1].textContent = text;
    return made;
  };

  const quoted = (word) => /^[\w@%+=:,./-]+$/.test(word) && !/[^\x00-\x7f]/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;

  const command = (row) => data.redraw.python
    ? `${data.redraw.start}.generate([${JSON.stringify(row.text)}], seeds=[${row.seed}])`
    : `${data.redraw.start} ${quoted("--class=" + row.label)} --seed=${row.seed} -- ${quoted(row.text)}`;

  const enlarge = (number) => {
    at = Math.min(Math.max(number, 0), chosen.length - 1);
    const row = chosen[at];
    large.querySelector("h3").textContent = row.label;
    fillVerdict(large.querySelector(".verdict"), row);
    large.querySelector(".text").textContent = row.text;
    fillTiles(large, row);
    const scores = data.filters.flatMap((name, place) => {
      const limits = data.thresholds[name] || {}, limit = limits[row.label] ?? limits[""];
      const score = row.scores[place] === null ? "not scored" : row.scores[place];
      return term(name, limit === undefined ? score : `${score}, threshold ${limit}`);
    });
    const size = data.size.join(" × ") + " px" + (data.size[0] > data.tile[0] ? `, shown from ${data.tile.join(" × ")}` : "");
    const pair = row.change ? [...term("change", row.change), ...term("text after", row.after)] : [];
    large.querySelector("dl").replaceChildren(...pair, ...scores, ...term("id", row.id), ...term("seed", row.seed),
      ...term("attempt", many(row.k + 1) + " of its class"), ...term("image", size));
    large.querySelector("code").textContent = command(row);
    large.querySelector("[name=copy]").textContent = "Copy the command";
    large.querySelector("[name=before]").disabled = at === 0;
    large.querySelector("[name=after]").disabled = at === chosen.length - 1;
    if (!large.open) large.showModal();
  };

  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(large.querySelector("code").textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(large.querySelector("code"));
      button.textContent = "Selected: press Ctrl+C";
    }
  };

  list.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (tile) enlarge(page * perPage() + [...list.children].indexOf(tile.closest("figure")));
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = step && [...list.children].indexOf(event.target.closest("figure")) + step;
    list.children[next]?.querySelector("button").focus();
  });
  for (const each of switches) {
    each.hidden = false;
    each.addEventListener("change", ({ target }) => {
      for (const other of switches) other.querySelector("input").checked = target.checked;
      show();
      if (large.open) enlarge(at);
    });
  }
  large.addEventListener("click", ({ target }) => {
    if (target === large) large.close();
    if (target.name === "before") enlarge(at - 1);
    if (target.name === "after") enlarge(at + 1);
    if (target.name === "copy") copy(target);
  });
  large.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.target.tagName !== "PRE" && event.target.type !== "checkbox") enlarge(at + step);
  });
  large.addEventListener("close", () => {
    if (page !== Math.floor(at / perPage())) {
      page = Math.floor(at / perPage());
      search(true);
    }
    list.children[at - page * perPage()].querySelector("button").focus();
  });
  turn.addEventListener("click", ({ target }) => {
    if (!target.name) return;
    page += target.name === "after" ? 1 : -1;
    search(true);
    toImages();
    list.querySelector("button").focus({ preventScroll: true });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => search());
  form.addEventListener("reset", () => setTimeout(search));
  addEventListener("hashchange", () => { if (asksFor()) { read(); toImages(); } });

  for (const name of data.reasons.filter(Boolean).sort()) form.elements.reason.append(new Option(name));
  const verdicts = new Set(rows.map((row) => row.verdict));
  for (const option of [...form.elements.verdict.options]) if (option.value && !verdicts.has(option.value)) option.remove();
  choose.hidden = false;
  choose.open = innerWidth > 600;
  read();
  if (asksFor()) toImages();
})();
