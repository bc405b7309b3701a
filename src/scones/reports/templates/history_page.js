"use strict";
const points = JSON.parse(document.getElementById("points").textContent);
const panel = document.getElementById("panel");
const plots = [...document.querySelectorAll(".plot")];
let shown = points.length - 1;

function show(place) {
  shown = Math.max(0, Math.min(points.length - 1, place));
  const point = points[shown];
  panel.classList.toggle("alarm", point.alarm);
  panel.querySelector("b").textContent = point.title;
  panel.querySelector("p").textContent = point.text;
  panel.querySelector(".shots").replaceChildren(...point.shots.map(([uri, words]) => {
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    const caption = document.createElement("figcaption");
    image.src = uri;
    image.alt = caption.textContent = words;
    figure.append(image, caption);
    return figure;
  }));
  for (const plot of plots) {
    const { left, right } = plot.parentElement.dataset;
    const cursor = plot.querySelector(".cursor");
    cursor.style.display = "block";
    cursor.style.left = `${100 * (Number(left) + (right - left) * point.x)}%`;
  }
}

function nearest(plot, event) {
  const box = plot.getBoundingClientRect();
  const { left, right } = plot.parentElement.dataset;
  const share = ((event.clientX - box.left) / box.width - left) / (right - left);
  const apart = points.map((point) => Math.abs(point.x - share));
  return apart.indexOf(Math.min(...apart));
}

for (const plot of plots) {
  for (const kind of ["pointermove", "pointerdown"]) {
    plot.addEventListener(kind, (event) => show(nearest(plot, event)));
  }
}
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && document.activeElement.classList.contains("chart")) {
    event.preventDefault();
    show(shown + step);
  }
});
show(shown);
