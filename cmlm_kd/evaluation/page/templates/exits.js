/* A threshold, by its place on the curve, and after which layers inputs leave there. */
function startExits() {
  const { start, points } = JSON.parse(byId("data").textContent);
  const slider = byId("threshold");
  const here = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  here.setAttribute("class", "dot here c1");
  here.setAttribute("r", "7");
  document.querySelector(".area").append(here);

  function show() {
    const { threshold, accuracy, speedup, left, place } = points[Number(slider.value)];
    const inputs = left.reduce((sum, count) => sum + count, 0);
    here.setAttribute("cx", `${place[0]}%`);
    here.setAttribute("cy", `${place[1]}%`);
    const text = `Threshold ${threshold}: accuracy ${accuracy.toFixed(2)} %, ${speedup.toFixed(2)} times as fast as all layers.`;
    byId("said").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    byId("layers").replaceChildren(
      ...left.flatMap((count, layer) => [
        make("span", {}, `layer ${layer + 1}`),
        bar(count / inputs, "c1"),
        make("span", {}, percent(count / inputs)),
      ]),
    );
  }
  slider.max = String(points.length - 1);
  slider.value = String(start);
  slider.addEventListener("input", show);
  byId("chooser").hidden = false;
  show();
}

startExits();
