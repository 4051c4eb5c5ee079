// Before the first paint, and so no module: what was chosen last time, or the system's choice.
{
  const chosen = localStorage.getItem("guerdon.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
