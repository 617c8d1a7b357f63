// What the pages do beside Sphinx's own: predictions that are kept and graded, and the tips of the drawings by keyboard
// and touch. Nothing leaves the browser.
"use strict";

const PLACE = "convnext-lessons-predictions";
let kept = {};
try {
  kept = JSON.parse(localStorage.getItem(PLACE)) ?? {};
} catch {
  // No storage, or not ours: predictions last as long as the page.
}

function keep() {
  try {
    localStorage.setItem(PLACE, JSON.stringify(kept));
  } catch {
    // The same.
  }
}

// As classroom/predictions.py: a point for the answer, half a point for its neighbour.
function pointsOf(answers, said, right) {
  return { 0: 1, 1: 0.5 }[Math.abs(answers.indexOf(said) - answers.indexOf(right))] ?? 0;
}

function grade(score) {
  const step = score.dataset.step;
  const answers = score.dataset.answers.split("|");
  let points = 0;
  let predicted = 0;
  for (const row of [...score.querySelectorAll("tr")].slice(1)) {
    const [question, right, , cell] = [...row.cells];
    const said = kept[step]?.answers?.[question.textContent];
    cell.textContent = "";
    if (answers.includes(said) && !answers.includes(right.textContent)) {
      cell.textContent = `${said} (not graded)`; // nobody can tell
    } else if (answers.includes(said)) {
      const point = pointsOf(answers, said, right.textContent);
      cell.textContent = `${said} (${point})`;
      cell.className = { 1: "right", 0.5: "near" }[point] ?? "wrong";
      points += point;
      predicted += 1;
    }
  }
  if (predicted) {
    score.querySelector("b").textContent = `${points} of ${predicted} points for step ${step}.`;
    kept[step].score = [points, predicted];
    keep();
  }
}

function tally(place) {
  const words = Object.entries(kept)
    .filter(([, { score }]) => score)
    .map(([step, { score }]) => `step ${step}: ${score[0]} of ${score[1]}`);
  if (!words.length) return; // what stands there says so
  const sums = Object.values(kept).filter(({ score }) => score).map(({ score }) => score);
  const [points, of] = [0, 1].map((part) => sums.reduce((sum, score) => sum + score[part], 0));
  place.textContent = `your predictions: ${words.join("; ")}; in all ${points} of ${of} points`;
}

function gradeAll() {
  document.querySelectorAll(".score").forEach(grade);
  document.querySelectorAll(".tally").forEach(tally);
}

for (const form of document.querySelectorAll("form.predictions")) {
  const step = form.dataset.step;
  for (const input of form.querySelectorAll("input")) {
    const question = input.closest("fieldset").dataset.question;
    input.checked = kept[step]?.answers?.[question] === input.value;
    input.addEventListener("change", () => {
      kept[step] ??= {};
      kept[step].answers = { ...kept[step].answers, [question]: input.value };
      keep();
      gradeAll();
    });
  }
}
gradeAll();

// A drawing takes the focus; the arrow keys then point at one part after the other, a tap at the one under it.
const pointAt = (drawing, part) => {
  drawing.querySelectorAll(".pointed").forEach((other) => other.classList.remove("pointed"));
  part?.classList.add("pointed");
};
const letFocus = () => document.querySelectorAll("svg[role=img]:has(.tip)").forEach((drawing) => {
  drawing.tabIndex = 0;
  drawing.querySelectorAll("g[tabindex]").forEach((part) => { part.tabIndex = -1; }); // one stop for all of them
});
document.addEventListener("keydown", (event) => {
  const drawing = event.target.closest?.("svg[role=img]");
  const turn = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!drawing || !turn) return;
  const parts = [...drawing.querySelectorAll("g:has(> .tip)")];
  const now = parts.findIndex((part) => part.classList.contains("pointed"));
  pointAt(drawing, parts[(now < 0 && turn < 0 ? parts.length : now) + turn] ?? parts[turn > 0 ? 0 : parts.length - 1]);
  event.preventDefault();
});
document.addEventListener("click", (event) => {
  const drawing = event.target.closest?.("svg[role=img]");
  if (drawing) pointAt(drawing, event.target.closest("g"));
});
document.addEventListener("focusout", (event) => {
  if (event.target.matches?.("svg[role=img]")) pointAt(event.target, null);
});
letFocus();
document.addEventListener("input", letFocus); // an explorer has shown another drawing
