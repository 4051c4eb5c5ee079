import { h } from "../dom.js";

export default async function page(view) {
  view.append(h("h1", {}, "live"));
}
page.title = "live";
