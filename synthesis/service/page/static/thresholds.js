// The page Thresholds: the line follows the slider at once, the images as soon as the server has found them.
import { $ } from "./page.js";

document.addEventListener("input", (event) => {
  const range = $("#at"), number = $("#at-number"), line = $("#chart line.value");
  if (event.target === range) number.value = Number(range.value).toFixed(4);
  else if (event.target === number && number.value !== "") range.value = number.value;
  else return;
  const place = 480 * (range.value - range.min) / (range.max - range.min);
  line?.setAttribute("x1", place);
  line?.setAttribute("x2", place);
});
document.addEventListener("change", (event) => {
  if (event.target.id !== "filter") return;
  event.stopPropagation();
  location.assign(`${location.pathname}?filter=${encodeURIComponent(event.target.value)}`);
}, true);
