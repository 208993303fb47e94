// The page New: a ticked class means "these"; classes can be searched.
import { $, $$ } from "./page.js";

document.addEventListener("input", (event) => {
  if (event.target.name === "prompts.classes") $("#classes-some").checked = true;
  if (event.target.id === "class-search") {
    const words = event.target.value.trim().toLowerCase();
    for (const item of $$(".classes li")) item.hidden = !item.textContent.toLowerCase().includes(words);
    event.stopPropagation();
  }
}, true);

function ready() { for (const each of $$(".class-search")) each.hidden = false; }
document.addEventListener("swapped", ready);
ready();
