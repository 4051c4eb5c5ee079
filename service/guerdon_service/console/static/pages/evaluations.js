import { h } from "../dom.js";

export default async function page(view) {
  view.append(h("h1", {}, "evaluations"));
}
page.title = "evaluations";
