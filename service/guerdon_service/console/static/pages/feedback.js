import { h } from "../dom.js";

export default async function page(view) {
  view.append(h("h1", {}, "feedback"));
}
page.title = "feedback";
